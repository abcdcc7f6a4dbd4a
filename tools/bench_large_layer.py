"""Solve one large layer alone: what a fit takes in seconds and resident memory, all told.

    python tools/bench_large_layer.py [--samples 64] [--inputs 4608] [--outputs 512] [--bits 8]

Prints JSON. The rows are synthetic: 48 common causes and noise, rectified, of 96 samples with 16
positions; the chip deviates in the weights of 24 inputs. Nothing else is in the process.
"""

from __future__ import annotations

import argparse
import json
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import time
from dataclasses import dataclass

import numpy as np
from bench_report import peak_megabytes
from numpy.typing import NDArray

from calib.reduced_rank import metric_from, solve_layer, surrogate_of
from calib.rounding import refitted_b, rounded_rows
from calib.row_sums import RowSums
from calib.sums import LayerSums
from calib.worth import component_worth

Float32 = NDArray[np.float32]
ALL_SAMPLES, POSITIONS, CAUSES, RANK = 96, 16, 48, 24


@dataclass(frozen=True)
class Rows:
    """Where rows are drawn from."""

    mix: NDArray[np.floating]
    generator: np.random.Generator

    def drawn(self, count: int) -> Float32:
        """Rectified rows [count, d]."""
        causes = self.generator.standard_normal((count, len(self.mix)), np.float32)
        noise = self.generator.standard_normal((count, self.mix.shape[1]), np.float32)
        return np.asarray(np.maximum(causes @ self.mix + noise / 3, 0))


def solve(samples: int, inputs: int, outputs: int, bits: int) -> dict[str, float]:
    """Gather, solve and round; the share of the error left on fresh rows, seconds, megabytes."""
    generator = np.random.default_rng(0)
    rows = Rows(generator.standard_normal((CAUSES, inputs), np.float32) / 7, generator)
    known = generator.standard_normal((inputs, outputs), np.float32) / 64
    off = generator.standard_normal((RANK, outputs), np.float32) / 64
    sums, clean = LayerSums(known, known), RowSums(inputs)
    started_s = time.monotonic()
    for sample in range(ALL_SAMPLES):
        x = rows.drawn(POSITIONS)
        clean.add(x)
        if sample < samples:
            y = x @ known
            sums.add(x, y + x[:, :RANK] @ off, y)
    statistics, metric = sums.statistics(clean), metric_from(np.eye(outputs, 16), 0.1)
    solution = solve_layer(statistics, metric, RANK)
    worth = component_worth(statistics, metric, solution)
    free = surrogate_of(statistics, metric, solution, RANK, inputs)
    a = rounded_rows(free.a.astype(np.float64), statistics.covariance_x, [bits] * RANK)
    b = refitted_b(statistics, solution.gain, a)
    seconds = time.monotonic() - started_s
    peak = peak_megabytes()
    x = rows.drawn(256)
    error = x[:, :RANK] @ off
    left = solution.gain * (x @ known + error) + x @ a.T @ b.T - x @ known
    return {
        "components_worth": float((worth > 0).sum()),
        "error_left": float((left.var(axis=0).sum() / error.var(axis=0).sum()) ** 0.5),
        "seconds": seconds,
        "peak_megabytes": peak,
    }


def main() -> None:
    """Solve the layer that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--inputs", type=int, default=4608)
    parser.add_argument("--outputs", type=int, default=512)
    parser.add_argument("--bits", type=int, default=8)
    arguments = parser.parse_args()
    found = solve(arguments.samples, arguments.inputs, arguments.outputs, arguments.bits)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
