"""The workers as seen from the benchmark: one process for each runtime, asked in turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtimes.networks import ROOT

WORKER = Path(__file__).with_name("worker.py")
NO_PYTHON = 3
"""Exit code of the script below where no Python fits."""


def pythons() -> dict[str, str]:
    """By runtime, the interpreter of its environment; tflite-runtime only where one can be made."""
    found = {"onnxruntime": sys.executable, "LiteRT": sys.executable}
    command = [str(ROOT / "tools" / "setup_environment.sh"), "tflite"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if told.returncode not in (0, NO_PYTHON):
        sys.exit("the environment of tflite-runtime could not be made; see above")
    if told.returncode == 0:
        found["tflite-runtime"] = told.stdout.strip()
    return found


class Client:
    """One worker.

    Args:
        python: of its environment.
        samples: what it tests on.
    """

    def __init__(self, python: str, samples: Path) -> None:
        """Start it."""
        self.python = python
        self._process = subprocess.Popen(
            [python, str(WORKER), str(samples)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **given: Any) -> Mapping[str, Any]:
        """What it says.

        Raises:
            RuntimeError: it has ended; what it wrote on the standard error says why.
        """
        wanted, told = self._process.stdin, self._process.stdout
        assert wanted is not None, "a pipe"
        assert told is not None, "a pipe"
        wanted.write(json.dumps({"do": do, **given}) + "\n")
        wanted.flush()
        line = told.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.python} has ended when asked {do} {given}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        self._process.communicate()
