"""Peak resident memory of a process that only runs a model."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

WORKER = Path(__file__).with_name("only_run.py")


def peak_megabytes(python: str, model: Path, sample: np.ndarray) -> float:
    """Of a fresh Python with NumPy and the runtime that runs one sample [1, ...].

    Args:
        python: the interpreter of the runtime's environment.
        model: an `.onnx` or a `.tflite` file.
        sample: what it is given.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sample.npy")
        np.save(path, sample)
        command = [python, str(WORKER), str(model), str(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(told.stdout)
