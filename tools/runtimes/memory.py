"""Peak resident memory of a process that only runs a model."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WORKER = Path(__file__).with_name("only_run.py")


def peak_megabytes(model: bytes, sample: np.ndarray) -> float:
    """Of a fresh Python with NumPy and onnxruntime that runs one sample [1, ...]."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "model.onnx"), Path(folder, "sample.npy")
        paths[0].write_bytes(model)
        np.save(paths[1], sample)
        command = [sys.executable, str(WORKER), *map(str, paths)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(told.stdout)
