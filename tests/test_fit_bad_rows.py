"""Any rows at all: factors are finite and no worse than none on their own rows, or are refused.

Rank-deficient inputs, dead and saturated channels, equal samples, huge, tiny and mixed scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.errors import SolveError
from calib.reduced_rank import (
    explained,
    metric_from,
    solve_layer,
    surrogate_of,
    unexplained,
)
from calib.row_sums import RowSums
from calib.sums import LayerSums
from tests.layer_rows import corrected, loss

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
BAD = (
    "nothing",
    "rank-deficient inputs",
    "dead inputs",
    "inputs of mixed units",
    "dead outputs",
    "saturated outputs",
    "equal samples",
    "constant main path",
    "unrelated outputs",
    "outputs of mixed scales",
)


def rows_of(bad: str, seed: int, n: int, d: int, m: int) -> tuple[Array, Array, Array, Array]:
    """Rows x, z, y and the map that is known of both."""
    generator = np.random.default_rng(seed)
    x, known = generator.standard_normal((n, d)), generator.standard_normal((d, m))
    off = known * (1 + 0.2 * generator.standard_normal((d, m)))
    match bad:
        case "rank-deficient inputs":
            x = x[:, :1] @ generator.standard_normal((1, d))
        case "dead inputs":
            x[:, generator.random(d) < 0.5] = 0.0
        case "inputs of mixed units":
            sizes = 10.0 ** generator.integers(-6, 7, d)
            x, known, off = x * sizes, known / sizes[:, None], off / sizes[:, None]
        case "equal samples":
            x[:] = x[:1]
    y = x @ known
    z = x @ off + 0.01 * generator.standard_normal((n, m))
    match bad:
        case "dead outputs":
            z[:, generator.random(m) < 0.5] = 0.0
        case "saturated outputs":
            z = np.clip(z, -0.3, 0.2)
        case "constant main path":
            z[:] = 0.7
        case "unrelated outputs":
            z = generator.standard_normal((n, m))
        case "outputs of mixed scales":
            sizes = 10.0 ** generator.integers(-6, 7, m)
            y, z, known = y * sizes, z * sizes, known * sizes
    return x, z, y, known


@settings(max_examples=300)
@given(
    bad=st.sampled_from(BAD),
    seed=SEEDS,
    n=st.integers(1, 30),
    d=st.integers(1, 12),
    m=st.integers(1, 6),
    rank=st.integers(0, 8),
    x_exponent=st.integers(-12, 12),
    y_exponent=st.integers(-12, 12),
    clean=st.booleans(),
)
def test_whatever_the_rows_factors_are_finite_and_no_worse_than_none(
    *,
    bad: str,
    seed: int,
    n: int,
    d: int,
    m: int,
    rank: int,
    x_exponent: int,
    y_exponent: int,
    clean: bool,
) -> None:
    x, z, y, known = rows_of(bad, seed, n, d, m)
    x, known = x * 10.0**x_exponent, known * 10.0 ** (y_exponent - x_exponent)
    z, y = z * 10.0**y_exponent, y * 10.0**y_exponent
    sums, inputs = LayerSums(known, known), RowSums(d)
    sums.add(x, z, y)
    inputs.add(x)
    metric = metric_from(np.eye(m), 0.1)
    statistics = sums.statistics(inputs if clean else None)
    solution = solve_layer(statistics, metric, rank)
    found = surrogate_of(statistics, metric, solution, min(rank, len(solution.values)), d)
    for part in (found.gain, found.offset, found.a, found.b):
        assert np.isfinite(part).all()
    size = max(float(np.square(y).mean()), float(np.square(z).mean()))
    before, after = loss(z - y, metric), loss(corrected(found, x, z) - y, metric)
    assert after <= 1.15 * before + 1e-6 * size  # what smoothing leaves is not all of the error


@settings(max_examples=200)
@given(
    bad=st.sampled_from(BAD),
    seed=SEEDS,
    n=st.integers(1, 30),
    d=st.integers(1, 12),
    m=st.integers(1, 6),
    rank=st.integers(0, 8),
    fading=st.floats(0.05, 2),
)
def test_the_gain_is_never_worse_than_one_or_than_that_of_a_regression(
    *, bad: str, seed: int, n: int, d: int, m: int, rank: int, fading: float
) -> None:
    x, z, y, known = rows_of(bad, seed, n, d, m)
    sums = LayerSums(known, known)
    sums.add(x, fading * z, y)
    s, metric = sums.statistics(), metric_from(np.random.default_rng(seed).random((m, 2)), 0.1)
    zz, yz = (np.diag(part) for part in (s.explained_zz + s.rest_zz, s.explained_yz + s.rest_yz))
    regression = np.divide(
        yz, zz, out=np.ones(m), where=zz > 1e-3 * np.diag(s.explained_yy + s.rest_yy)
    )

    def left(gain: Array) -> float:
        values = np.linalg.eigvalsh(metric.half @ explained(s, gain) @ metric.half)[::-1]
        beyond = np.einsum("ij,ji->", metric.full, unexplained(s, gain))
        return float(np.maximum(values, 0)[rank:].sum() + beyond)

    found = left(solve_layer(s, metric, rank).gain)
    slack = 1e-4 * np.einsum("ij,ji->", metric.full, s.explained_yy + s.rest_yy) + 1e-12
    assert found <= left(np.ones(m)) * (1 + 1e-6) + 1e-4 * slack
    assert found <= left(regression) + slack


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused(bad: float) -> None:
    x, z, y, known = rows_of("nothing", 0, 9, 4, 3)
    z[4, 1] = bad
    sums = LayerSums(known, known)
    with pytest.raises(SolveError, match="the chip has failed"):
        sums.add(x, z, y)
