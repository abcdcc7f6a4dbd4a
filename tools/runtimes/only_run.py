"""A process that does nothing but run a model, and says how much memory it took at most.

python only_run.py MODEL.onnx|MODEL.tflite SAMPLE.npy
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TOOLS.parent), str(TOOLS)]  # not our own folder: its names are not packages'

import numpy as np  # noqa: E402 - found by the path above
from bench_report import peak_megabytes  # noqa: E402 - found by the path above

from agent.runtimes import onnx_session, tflite_interpreter  # noqa: E402 - by the path above

RUNS = 20


def opened(model: Path, x: np.ndarray) -> Callable[[], object]:
    """What runs the model on one sample."""
    if model.suffix == ".tflite":
        backend = tflite_interpreter.imported()
        loaded = tflite_interpreter.TfliteModel(backend, model.read_bytes(), model.name)
        sample = x.reshape(loaded.input_shape)
        return lambda: loaded.run(sample)
    package = onnx_session.imported()
    options = package.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = package.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {session.get_inputs()[0].name: x})


def main() -> None:
    """Load, run, and print megabytes."""
    model, sample = sys.argv[1:]
    run_once = opened(Path(model), np.load(sample, allow_pickle=False))
    for _ in range(RUNS):
        run_once()
    print(peak_megabytes())


if __name__ == "__main__":
    main()
