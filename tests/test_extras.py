"""The extras for boards: wheels for every Python and processor that they are promised for.

pip is asked what it would install there. It evaluates markers for the Python that it runs in, not
for the one it is asked about; so those of our own requirements are evaluated here.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
PROCESSORS = ("aarch64", "x86_64")
NEWEST_GLIBC = 36
"""Of Raspberry Pi OS Bookworm, 2.36."""

OLDEST_GLIBC = 17

EXTRAS = {
    "litert": {"ai-edge-litert"},
    "onnx": {"onnxruntime"},
    "tflite": {"tflite-runtime"},
    "board": {"ai-edge-litert", "onnxruntime"},
    "monitor": {"pyserial", "cbor2", "rich", "prometheus-client", "paho-mqtt"},
}
"""What each extra is for; `tflite` from Python 3.12 on for ai-edge-litert."""


def requirements(extra: str) -> list[Requirement]:
    """Those of the core and of an extra, as setup.py has them."""
    namespace: dict[str, object] = {}
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    lists = [node for node in tree.body if isinstance(node, ast.Assign)]
    wanted = [node for node in lists if ast.unparse(node.targets[0]).isupper()]
    body = [node for node in wanted if "__file__" not in ast.unparse(node)]
    exec(compile(ast.Module(body, []), "setup.py", "exec"), namespace)  # noqa: S102  # our own file
    core, extras = namespace["CORE"], namespace["EXTRAS"]
    assert isinstance(core, list)
    assert isinstance(extras, dict)
    return [Requirement(text) for text in (*core, *extras[extra])]


def asked(extra: str, python: str, processor: str) -> list[str]:
    """What pip is asked for, where markers hold."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": processor,
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    found = [one for one in requirements(extra) if one.marker is None or one.marker.evaluate(there)]
    return [f"{one.name}{one.specifier}" for one in found]


@cache
def reachable() -> bool:
    """Whether pip finds a package index."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed",
         "--quiet", "--retries", "1", "--timeout", "10", "click"],
        capture_output=True,
        check=False,
    )  # fmt: skip
    return done.returncode == 0


def resolved(folder: Path, python: str, processor: str, wanted: list[str]) -> dict[str, str]:
    """What pip would install: versions by name."""
    levels = [f"manylinux_2_{minor}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    platforms = [f"--platform={level}_{processor}" for level in (*levels, "manylinux2014")]
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={python}", *platforms, f"--target={folder / 'nowhere'}"]
    done = subprocess.run(
        [*command, f"--report={report}", *wanted], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = (entry["metadata"] for entry in installs)
    return {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in found}


@pytest.mark.parametrize("python", PYTHONS)
def test_tflite_runtime_is_asked_for_where_it_exists_only(python: str) -> None:
    names = {re.split(r"[=<>!~]", text)[0] for text in asked("tflite", python, "aarch64")}
    assert names == {
        "numpy",
        "click",
        "tflite-runtime" if python == "3.11" else "ai-edge-litert",
    }
    held = [text for text in asked("tflite", python, "aarch64") if text == "numpy<2"]
    assert len(held) == (python == "3.11")


@pytest.mark.slow
@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_there_are_wheels(extra: str, python: str, processor: str, tmp_path: Path) -> None:
    if not reachable():
        pytest.skip("no package index can be reached: what has wheels cannot be known")
    found = resolved(tmp_path, python, processor, asked(extra, python, processor))
    successor = extra == "tflite" and python != "3.11"
    wanted = {"ai-edge-litert"} if successor else EXTRAS[extra]
    assert wanted | {"numpy", "click"} <= set(found)
    assert "onnx" not in found
    if "tflite-runtime" in found:
        assert found["numpy"].startswith("1.")
