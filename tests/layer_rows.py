"""Rows of a layer that stands alone, its statistics without ridge or floor, and brute force."""

from __future__ import annotations

from typing import Any

import numpy as np

from calib.factors import Surrogate
from calib.reduced_rank import Metric, metric_from, solve_layer, surrogate_of
from calib.sums import LayerStatistics

Array = np.ndarray[Any, Any]


def exact_statistics(x: Array, z: Array, y: Array) -> LayerStatistics:
    """Least squares maps and true covariances: no ridge, no floor."""
    n = len(x)
    xc, zc, yc = (rows - rows.mean(axis=0) for rows in (x, z, y))
    map_y, map_z = (np.linalg.lstsq(xc, rows, rcond=None)[0] for rows in (yc, zc))
    y_of_x, z_of_x = xc @ map_y, xc @ map_z
    y_rest, z_rest = yc - y_of_x, zc - z_of_x
    return LayerStatistics(
        mean_x=x.mean(axis=0),
        mean_y=y.mean(axis=0),
        mean_z=z.mean(axis=0),
        covariance_x=xc.T @ xc / n,
        map_y=map_y,
        map_z=map_z,
        explained_yy=y_of_x.T @ y_of_x / n,
        explained_yz=y_of_x.T @ z_of_x / n,
        explained_zz=z_of_x.T @ z_of_x / n,
        rest_yy=y_rest.T @ y_rest / n,
        rest_yz=y_rest.T @ z_rest / n,
        rest_zz=z_rest.T @ z_rest / n,
        rows=n,
        freedom=float(x.shape[1]),
    )


def corrected(found: Surrogate, x: Array, z: Array) -> Array:
    wide = [part.astype(np.float64) for part in (found.gain, found.offset, found.a, found.b)]
    return np.asarray(Surrogate(*wide).apply(z.astype(np.float64), x))


def loss(errors: Array, metric: Metric) -> float:
    """E ‖H^½ e‖², row by row."""
    return float(np.mean([e @ metric.full @ e for e in errors - errors.mean(axis=0)]))


def solved(x: Array, z: Array, y: Array, metric: Metric, rank: int) -> Surrogate:
    statistics = exact_statistics(x, z, y)
    solution = solve_layer(statistics, metric, rank)
    few = min(rank, *statistics.map_y.shape)
    return surrogate_of(statistics, metric, solution, few, x.shape[1])


def some_metric(m: int, seed: int) -> Metric:
    return metric_from(np.random.default_rng(seed).standard_normal((m, 4)), 0.1)


def plain_metric(m: int) -> Metric:
    return metric_from(np.eye(m), 0.0)


def layer(seed: int, n: int = 80, d: int = 9, m: int = 6) -> tuple[Array, Array]:
    """Rows of x that hang together, and a layer's clean outputs."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, d)) @ generator.standard_normal((d, d)) + 2
    return x, x @ generator.standard_normal((d, m)) + generator.standard_normal(m)


def low_rank_error(x: Array, m: int, rank: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    b = generator.standard_normal((rank, m))
    return np.asarray(x @ generator.standard_normal((x.shape[1], rank)) @ b)
