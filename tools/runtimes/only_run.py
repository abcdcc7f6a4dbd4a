"""A process that does nothing but run a model, and says how much memory it took at most.

python only_run.py MODEL.onnx SAMPLE.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TOOLS.parent), str(TOOLS)]  # not our own folder: its names are not packages'

import numpy as np  # noqa: E402 - found by the path above
from bench_report import peak_megabytes  # noqa: E402 - found by the path above

from agent.runtimes.onnx_session import imported  # noqa: E402 - found by the path above

RUNS = 20


def main() -> None:
    """Load, run, and print megabytes."""
    model, sample = sys.argv[1:]
    package = imported()
    options = package.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = package.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.load(sample, allow_pickle=False)
    for _ in range(RUNS):
        session.run(None, {session.get_inputs()[0].name: x})
    print(peak_megabytes())


if __name__ == "__main__":
    main()
