"""Large layers: 4,608 inputs (512 channels of 3 by 3) and 512 outputs within 256 MB, all told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_MEGABYTES = 256


@pytest.mark.slow
@pytest.mark.parametrize("samples", [16, 64])
def test_a_layer_of_4608_inputs_and_512_outputs_is_solved_within_256_megabytes(
    samples: int,
) -> None:
    done = subprocess.run(
        [sys.executable, "tools/bench_large_layer.py", "--samples", str(samples)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["peak_megabytes"] < MOST_MEGABYTES
    assert found["components_worth"] > 0
    assert found["error_left"] < 0.9
