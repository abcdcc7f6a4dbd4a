"""A layer's statistics: maps start from what is known, and explain and leave what they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import SolveError
from calib.ridge import UNIT_RANGE, regression, units_of
from calib.row_sums import Covariance, RowSums
from calib.sums import COVARIANCE_FLOOR, LayerSums

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)


def covariance_of(rows: Array) -> Array:
    return np.atleast_2d(np.cov(rows.astype(np.float64), rowvar=False, bias=True))


def floor_of(x: Array) -> Array:
    """Relative to the mean variance; to its own for an input that varies far less."""
    variances = x.var(axis=0)
    return np.diag(COVARIANCE_FLOOR * np.minimum(variances.mean(), UNIT_RANGE * variances))


def dense(covariance: Covariance) -> Array:
    return np.asarray(covariance @ np.eye(covariance.shape[0]))


def sums_of(x: Array, z: Array, y: Array, known_y: Array, known_z: Array) -> LayerSums:
    sums = LayerSums(known_y, known_z)
    for start in range(0, len(x), 7):
        block = slice(start, start + 7)
        sums.add(x[block], z[block], y[block])
    return sums


def ridge_map(x: Array, deviations: Array, penalty: float) -> Array:
    """The ridge regression as one least squares problem with rows added for the penalty."""
    units = units_of(x.var(axis=0))
    x, deviations = x - x.mean(axis=0), deviations - deviations.mean(axis=0)
    added = np.diag(np.sqrt(penalty * units))
    more, nothing = np.concatenate([x, added]), np.zeros((x.shape[1], deviations.shape[1]))
    found = np.linalg.lstsq(more, np.concatenate([deviations, nothing]), rcond=None)[0]
    return np.asarray(found)


def penalty_of(x: Array, dz: Array, dy: Array) -> float:
    """The penalty that leaving rows out chooses for what y and z differ in."""
    sums = RowSums(x.shape[1], dy.shape[1], double=True)
    sums.add(np.concatenate([x, dy - dz], axis=1))
    return regression(sums, np.eye(dy.shape[1])).penalty


def drawn(seed: int, n: int = 40, d: int = 5, m: int = 3) -> tuple[Array, ...]:
    """Rows x, z, y and maps that are known of them."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d)) @ generator.standard_normal((d, d)) + 3
    z, y = (x @ generator.standard_normal((d, m)) + 1 for _ in range(2))
    known_y, known_z = generator.standard_normal((2, d, m))
    return x, z + generator.standard_normal((n, m)), y, known_y, known_z


@given(seed=SEEDS, exponent=st.integers(-12, 12))
def test_maps_are_the_known_ones_and_a_ridge_regression_of_what_deviates(
    seed: int, exponent: int
) -> None:
    x, z, y, known_y, known_z = drawn(seed)
    x, known_y, known_z = x * 10.0**exponent, known_y / 10.0**exponent, known_z / 10.0**exponent
    found = sums_of(x, z, y, known_y, known_z).statistics()
    penalty = penalty_of(x, z - x @ known_z, y - x @ known_y)
    for mapped, known, out in ((found.map_y, known_y, y), (found.map_z, known_z, z)):
        expected = known + ridge_map(x, out - x @ known, penalty)
        np.testing.assert_allclose(mapped, expected, rtol=1e-4, atol=1e-6 * np.abs(known).max())
    np.testing.assert_allclose(found.mean_x, x.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.mean_y, y.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.mean_z, z.mean(axis=0), rtol=1e-9, atol=1e-9)


@given(seed=SEEDS)
def test_what_maps_explain_and_what_is_left(seed: int) -> None:
    x, z, y, known_y, known_z = drawn(seed)
    found = sums_of(x, z, y, known_y, known_z).statistics()
    floor = floor_of(x)
    np.testing.assert_allclose(
        dense(found.covariance_x), covariance_of(x) + floor, rtol=1e-9, atol=1e-9
    )
    maps = np.concatenate([found.map_y, found.map_z], axis=1)
    explained = maps.T @ found.covariance_x @ maps
    left = covariance_of(np.concatenate([y, z], axis=1) - x @ maps)
    for part, whole in (("explained", explained), ("rest", left)):
        for name, block in (("yy", whole[:3, :3]), ("yz", whole[:3, 3:]), ("zz", whole[3:, 3:])):
            matrix = getattr(found, f"{part}_{name}")
            np.testing.assert_allclose(matrix, block, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 100])
def test_maps_that_are_known_exactly_stay_exact_however_few_the_rows(n: int) -> None:
    x, _, _, known_y, known_z = drawn(0, n)
    found = sums_of(x, x @ known_z - 5, x @ known_y + 4, known_y, known_z).statistics()
    np.testing.assert_allclose(found.map_y, known_y, atol=1e-10)
    np.testing.assert_allclose(found.map_z, known_z, atol=1e-10)
    np.testing.assert_allclose(found.rest_yy, 0, atol=1e-10)
    np.testing.assert_allclose(found.mean_y, x.mean(axis=0) @ known_y + 4, atol=1e-9)


def test_directions_that_no_row_shows_are_taken_to_be_as_known() -> None:
    x, z, y, known_y, known_z = drawn(1)
    x[:, 2] = 7.0
    found = sums_of(x, z, y, known_y, known_z).statistics()
    np.testing.assert_allclose(found.map_y[2], known_y[2], atol=1e-10)
    np.testing.assert_allclose(found.map_z[2], known_z[2], atol=1e-10)


def test_inputs_that_were_not_run_say_how_inputs_vary_and_change_no_map() -> None:
    x, z, y, known_y, known_z = drawn(2)
    more = 10 * drawn(3, n=200)[0]
    inputs = RowSums(5)
    inputs.add(more)
    sums = sums_of(x, z, y, known_y, known_z)
    alone, found = sums.statistics(), sums.statistics(inputs)
    np.testing.assert_array_equal(found.map_z, alone.map_z)
    np.testing.assert_array_equal(found.rest_zz, alone.rest_zz)
    floor = floor_of(more)
    np.testing.assert_allclose(dense(found.covariance_x), covariance_of(more) + floor)
    for mean, there, mapped in (
        (found.mean_y, y, found.map_y),
        (found.mean_z, z, found.map_z),
    ):
        np.testing.assert_allclose(mean, there.mean(0) + (more.mean(0) - x.mean(0)) @ mapped)
    expected = found.map_y.T @ found.covariance_x @ found.map_z
    np.testing.assert_allclose(found.explained_yz, expected)


def test_where_inputs_are_not_looked_at_all_is_rest() -> None:
    x, z, y, _, _ = drawn(4)
    nothing = np.zeros((0, 3))
    found = sums_of(x, z, y, nothing, nothing).statistics()
    assert found.map_y.shape == (0, 3)
    assert found.mean_x.shape == (0,)
    np.testing.assert_array_equal(found.explained_zz, np.zeros((3, 3)))
    np.testing.assert_allclose(found.rest_yy, covariance_of(y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_is_refused(bad: float, which: int) -> None:
    parts = list(drawn(0))
    parts[which][3, 1] = bad
    with np.errstate(invalid="ignore"), pytest.raises(SolveError, match="not finite"):
        sums_of(*parts)


def test_no_rows_are_refused() -> None:
    nothing = np.zeros((2, 3))
    with pytest.raises(SolveError, match="choose at least one sample"):
        LayerSums(nothing, nothing).statistics()
