"""Dead channels, constant layers, few rows and any scale: factors stay finite and sensible."""

from __future__ import annotations

import numpy as np
import pytest

from calib.reduced_rank import solve_layer, surrogate_of
from calib.sums import LayerSums
from tests.layer_rows import Array, corrected, layer, low_rank_error, some_metric


def degenerate(name: str) -> tuple[Array, Array, Array]:
    """Rows x, z, y of a layer that has something wrong with it."""
    x, y = layer(2)
    z = 0.8 * y + low_rank_error(x, 6, 2, 3)
    match name:
        case "dead main channel":
            z[:, 1] = 0.1
        case "dead reference channel":
            y[:, 1] = 0.1
        case "dead input":
            x[:, 3] = 0
        case "main path constant":
            z[:] = 0.3
        case "reference constant":
            y[:] = 0.3
        case "all samples equal":
            x, z, y = (np.repeat(rows[:1], 80, axis=0) for rows in (x, z, y))
        case "one row":
            x, z, y = x[:1], z[:1], y[:1]
        case "all zero":
            x, z, y = 0 * x, 0 * z, 0 * y
        case "fewer rows than inputs":
            x, z, y = x[:4], z[:4], y[:4]
        case _:
            raise ValueError(name)
    return x, z, y


DEGENERATE = [
    "dead main channel",
    "dead reference channel",
    "dead input",
    "main path constant",
    "reference constant",
    "all samples equal",
    "one row",
    "all zero",
    "fewer rows than inputs",
]


@pytest.mark.parametrize("rank", [0, 2, 100])
@pytest.mark.parametrize("name", DEGENERATE)
def test_a_degenerate_layer_gets_sensible_factors(name: str, rank: int) -> None:
    x, z, y = degenerate(name)
    known = np.random.default_rng(0).standard_normal((9, 6))
    sums = LayerSums(known, known)
    sums.add(x, z, y)
    statistics, metric = sums.statistics(), some_metric(6, 0)
    solution = solve_layer(statistics, metric, rank)
    found = surrogate_of(statistics, metric, solution, min(rank, len(solution.values)), 9)
    for part in (found.gain, found.offset, found.a, found.b):
        assert np.isfinite(part).all()
    assert np.abs(found.gain).max() < 100
    errors = corrected(found, x, z) - y
    before = z - y
    assert (errors**2).mean() <= (before**2).mean() + 1e-9


@pytest.mark.parametrize("x_exponent", [-12, 0, 12])
@pytest.mark.parametrize("y_exponent", [-12, 0, 12])
def test_scales_of_inputs_and_outputs_do_not_matter(x_exponent: int, y_exponent: int) -> None:
    x, y = layer(5)
    z = 0.8 * y + low_rank_error(x, 6, 3, 2)
    metric, known = some_metric(6, 0), np.linalg.lstsq(x, y, rcond=None)[0]

    def fitted(x_scale: float, y_scale: float) -> Array:
        sums = LayerSums(known * y_scale / x_scale, known * y_scale / x_scale)
        sums.add(x * x_scale, z * y_scale, y * y_scale)
        statistics = sums.statistics()
        solution = solve_layer(statistics, metric, 2)
        found = surrogate_of(statistics, metric, solution, 2, 9)
        return corrected(found, x * x_scale, z * y_scale) / y_scale

    plain = fitted(1.0, 1.0)
    scaled = fitted(10.0**x_exponent, 10.0**y_exponent)
    np.testing.assert_allclose(scaled, plain, atol=1e-3)


def test_layers_whose_inputs_are_not_looked_at_get_gain_and_offset() -> None:
    x, y = layer(7)
    z = 0.5 * y + 2
    nothing = np.zeros((0, 6))
    sums = LayerSums(nothing, nothing)
    sums.add(x, z, y)
    statistics, metric = sums.statistics(), some_metric(6, 0)
    solution = solve_layer(statistics, metric, 8)
    assert solution.values.shape == (0,)
    found = surrogate_of(statistics, metric, solution, 0, 9)
    assert found.a.shape == (0, 9)
    np.testing.assert_allclose(corrected(found, x, z), y, atol=1e-3)
