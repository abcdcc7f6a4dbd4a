"""Large layers: 4,608 inputs (512 channels of 3 by 3) and 512 outputs within 256 MB, all told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOST_MEGABYTES = 256

CHILD = """
import resource
import numpy as np
from calib.reduced_rank import metric_from, solve_layer, surrogate_of
from calib.row_sums import RowSums
from calib.rounding import refitted_b, rounded_rows
from calib.sums import LayerSums
from calib.worth import component_worth

d, m, samples, all_samples, positions = 4608, 512, {samples}, 96, 16
generator = np.random.default_rng(0)
known = (generator.standard_normal((d, m), np.float32) / 64).astype(np.float32)
off = generator.standard_normal((24, m), np.float32) / 64
sums, inputs = LayerSums(known, known), RowSums(d)
mix = generator.standard_normal((48, d), np.float32) / 7


def drawn(rows):
    causes = generator.standard_normal((rows, 48), np.float32)
    return np.maximum(causes @ mix + generator.standard_normal((rows, d), np.float32) / 3, 0)


for sample in range(all_samples):
    x = drawn(positions)
    inputs.add(x)
    if sample < samples:
        y = x @ known
        sums.add(x, y + x[:, :24] @ off, y)
statistics = sums.statistics(inputs)
metric = metric_from(np.eye(m, 16), 0.1)
solution = solve_layer(statistics, metric, 24)
assert component_worth(statistics, metric, solution)[0] > 0
found = surrogate_of(statistics, metric, solution, 24, d)
a = rounded_rows(found.a.astype(np.float64), statistics.covariance_x, {bits})
b = refitted_b(statistics, solution.gain, a)
assert np.isfinite(a).all() and np.isfinite(b).all()
x = drawn(64)
error = x[:, :24] @ off
left = error + (x - statistics.mean_x) @ a.T @ b.T
left -= left.mean(axis=0)
error -= error.mean(axis=0)
print((left**2).mean() / (error**2).mean())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("samples", [16, 64])
def test_a_layer_of_4608_inputs_and_512_outputs_is_solved_within_256_megabytes(
    samples: int,
) -> None:
    root = Path(__file__).parents[1]
    code = CHILD.replace("{samples}", str(samples)).replace("{bits}", "[8] * 24")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    left, peak_megabytes = (float(line) for line in done.stdout.split())
    assert left < 1
    assert peak_megabytes < MOST_MEGABYTES
