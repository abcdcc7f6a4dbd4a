"""Commands with their output as a document shows them, run again and compared by shape."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = "..."
"""A line that stands for any number of lines, also none."""

_MARK = "=#=#= ended with "
_NUMBER = re.compile(r"(?<!exit code )(?<![\d.,])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
_UNIT = re.compile(r"# (?:B|KiB|MiB|ms|s|min)\b")
_RANGES = re.compile(r"^(ranges +)(?:min-max|percentile|mean-squared-error)$", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A command line, and the output that the document gives for it."""

    command: str
    output: str


@dataclass(frozen=True)
class Run:
    """What a command did."""

    code: int
    output: str


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shown_commands(text: str) -> list[Shown]:
    """All commands of the console blocks, in order."""
    found = []
    for block in blocks(text, "console"):
        assert block.startswith("$ "), f"a console block begins with output: {block[:60]}"
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Shown(command, output))
    return found


def play(commands: list[Shown], folder: Path) -> list[Run]:
    """Run commands in one shell, in a folder that knows `npp-agent`, `python` and `tools`."""
    programs = folder / "programs"
    programs.mkdir()
    python = shlex.quote(sys.executable)
    for name, call in (("python", python), ("npp-agent", f"{python} -m agent.cli")):
        (programs / name).write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    (folder / "tools").symlink_to(ROOT / "tools")
    script = "exec 2>&1\n" + "".join(f"{c.command}\necho '{_MARK}'$?\n" for c in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("NPP_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    pieces = re.split(rf"^{re.escape(_MARK)}(\d+)\n", done.stdout, flags=re.MULTILINE)
    assert len(pieces) == 2 * len(commands) + 1, done.stdout[-2000:]
    return [Run(int(code), out) for out, code in zip(pieces[0::2], pieces[1::2], strict=False)]


def masked(output: str) -> str:
    """The words of an output: no figures, units of size and time, rules or spacing."""
    text = _RANGES.sub(r"\1RANGES", output)
    text = re.sub(r"-{2,}", "--", _NUMBER.sub("#", text))
    return " ".join(_UNIT.sub("# UNIT", text).split())


def fits(shown: str, output: str) -> bool:
    """Whether an output has the words that the document shows, in their order."""
    parts = re.split(rf"^{re.escape(ELSEWHERE)}\n", shown, flags=re.MULTILINE)
    pattern = ".*".join(re.escape(masked(part)) + (" ?" if part else "") for part in parts)
    return re.fullmatch(pattern.replace(".*", " ?.* ?"), masked(output)) is not None
