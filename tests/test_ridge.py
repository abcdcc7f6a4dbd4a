"""Ridge regression: each of its forms is least squares; its penalty is what leaving out says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calib.ridge import MOST_LEFT_OUT, PENALTIES, UNIT_RANGE, regression, units_of
from calib.row_sums import FEWEST_FOLDED, RowSums

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, d: int, noise: float, k: int = 3) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d)) @ generator.standard_normal((d, d)) + 3
    e = x @ generator.standard_normal((d, k)) + noise * generator.standard_normal((n, k))
    return x, e + generator.standard_normal(k)


def sums_of(x: Array, e: Array) -> RowSums:
    sums = RowSums(x.shape[1], e.shape[1], double=True)
    for start in range(0, len(x), 97):
        sums.add(np.concatenate([x, e], axis=1)[start : start + 97])
    return sums


def least_squares(x: Array, e: Array, penalties: Array) -> Array:
    """The same as one least squares problem with rows added for the penalties of the inputs."""
    x, e = x - x.mean(axis=0), e - e.mean(axis=0)
    more = np.concatenate([x, np.diag(np.sqrt(penalties))])
    wanted = np.concatenate([e, np.zeros((x.shape[1], e.shape[1]))])
    return np.asarray(np.linalg.lstsq(more, wanted, rcond=None)[0])


def missed(x: Array, e: Array, penalties: Array) -> float:
    """What rows are missed by that are really left out, one after another."""
    total = 0.0
    for i in range(len(x)):
        others_x, others_e = np.delete(x, i, axis=0), np.delete(e, i, axis=0)
        found = least_squares(others_x, others_e, penalties)
        predicted = others_e.mean(axis=0) + (x[i] - others_x.mean(axis=0)) @ found
        total += float(((e[i] - predicted) ** 2).sum())
    return total


@settings(max_examples=15)  # each fits hundreds of regressions
@given(seed=SEEDS, n=st.integers(3, 16), d=st.integers(1, 12), noise=st.floats(0.05, 30))
def test_the_penalty_is_the_one_that_misses_rows_left_out_least(
    seed: int, n: int, d: int, noise: float
) -> None:
    x, e = drawn(seed, n, d, noise)
    found = regression(sums_of(x, e), np.eye(3))
    units = units_of(x.var(axis=0))
    tries = [missed(x, e, n * penalty * units) for penalty in PENALTIES]
    chosen = missed(x, e, found.penalty * units)
    assert chosen <= min(tries) * (1 + 1e-3) + 1e-9


@pytest.mark.parametrize(
    ("n", "d"),
    [(20, 30), (200, 7), (MOST_LEFT_OUT + 88, 700), (FEWEST_FOLDED + 300, 20)],
    ids=["fewer rows than inputs", "more", "many rows, more inputs", "folded"],
)
def test_every_form_is_the_same_least_squares(n: int, d: int) -> None:
    x, e = drawn(0, n, d, 1.0)
    found = regression(sums_of(x, e), np.eye(3))
    penalties = found.penalty * units_of(x.var(axis=0))
    expected = least_squares(x, e, penalties)
    size = np.abs(expected).max()
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-4, atol=1e-4 * size)
    left = e - e.mean(axis=0) - (x - x.mean(axis=0)) @ expected
    np.testing.assert_allclose(found.rest, left.T @ left / n, rtol=1e-3, atol=1e-3)
    centred = x - x.mean(axis=0)
    hat = centred @ np.linalg.solve(centred.T @ centred + np.diag(penalties), centred.T)
    np.testing.assert_allclose(found.freedom, np.trace(hat), rtol=0.1)


def test_noise_asks_for_a_larger_penalty_and_none_for_hardly_any() -> None:
    quiet, loud = (
        regression(sums_of(*drawn(0, 60, 20, noise)), np.eye(3)).penalty for noise in (1e-3, 100)
    )
    assert quiet < 1e-2 * loud


def test_inputs_that_are_all_the_same_explain_nothing() -> None:
    x, e = np.full((9, 4), 3.0), np.random.default_rng(0).standard_normal((9, 2))
    found = regression(sums_of(x, e), np.eye(2))
    assert found.freedom == found.penalty == 0
    np.testing.assert_array_equal(found.coefficients, np.zeros((4, 2)))
    np.testing.assert_allclose(found.rest, np.cov(e, rowvar=False, bias=True))


@given(seed=SEEDS, exponents=st.lists(st.integers(-12, 12), min_size=6, max_size=6))
def test_inputs_of_very_mixed_units_are_all_used(seed: int, exponents: list[int]) -> None:
    """What is missed on fresh rows is little, whatever the units."""
    x, e = drawn(seed, 120, 6, 0.01)
    sizes = 10.0 ** np.array(exponents)
    found = regression(sums_of((x * sizes)[:60], e[:60]), np.eye(3))
    fresh = (x[60:] - x[:60].mean(axis=0)) * sizes
    missed_by = e[60:] - e[:60].mean(axis=0) - fresh @ found.coefficients
    assert (missed_by**2).mean() < 0.05 * e.var(axis=0).mean()


def test_units_are_the_mean_variance_unless_an_input_varies_far_less() -> None:
    np.testing.assert_allclose(units_of(np.array([1.0, 2.0, 3.0])), 2)
    np.testing.assert_allclose(units_of(np.array([1e6, 1.0])), [5.000005e5, UNIT_RANGE])
    np.testing.assert_allclose(units_of(np.array([4.0, 0.0])), [2, 2])
    np.testing.assert_allclose(units_of(np.zeros(3)), np.ones(3))
