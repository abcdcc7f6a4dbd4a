"""What a calibration can reach, told before it is solved: errors now, by rank, and by noise.

All errors are those that a layer makes itself, relative to its reference outputs and weighed by its
output metric H: √(E ‖H^½ e‖² / E ‖H^½ y‖²). What remains at best is what the planned components
leave, what no linear map of the layer's inputs explains (read noise, converters, rounding of
activations), and the noise that is fitted with few rows (`calib.worth`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calib.allocation import Bits
from calib.factors import Factors, Surrogate
from calib.grouped_fit import SolvedGroups
from calib.layer_fit import Plan, SolvedLayer
from calib.precision import lost_share
from calib.reduced_rank import unexplained
from calib.row_sums import Float64
from calib.verify import SMALLEST_GAIN
from calib.worth import noise_covariance

FLOAT32_ERROR = 1e-6
"""Relative errors below this are those of the computation itself."""

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class LayerForecast:
    """Relative errors of one layer, predicted."""

    before: float
    """With the factors that run now."""

    reachable: float
    """With the best that the budget buys; at most `before`, as the factors may stay."""

    rank_floor: float
    """What the components that were not bought would take away."""

    noise_floor: float
    """What reading alone makes: no calibration goes below."""


@dataclass(frozen=True)
class Forecast:
    """Of all layers; the figures are means over them."""

    layers: Mapping[str, LayerForecast]

    @property
    def before(self) -> float:
        """Error now."""
        return _mean([one.before for one in self.layers.values()])

    @property
    def reachable(self) -> float:
        """Error at best."""
        return _mean([one.reachable for one in self.layers.values()])

    @property
    def noise_floor(self) -> float:
        """Error by read noise alone."""
        return _mean([one.noise_floor for one in self.layers.values()])

    @property
    def promising(self) -> bool:
        """Whether enough can be gained for a write to flash; also where nothing can be told."""
        return not (
            self.reachable > self.before * (1 - SMALLEST_GAIN) or self.before < FLOAT32_ERROR
        )

    @property
    def why_not(self) -> str:
        """Why a calibration that does not promise enough is not tried, without a full stop."""
        return (
            f"the layers' own errors, {self.before:.3g} on average, can only become "
            f"{self.reachable:.3g} (read noise {self.noise_floor:.2g})"
        )

    def __str__(self) -> str:
        """One sentence."""
        noise = f"(read noise {self.noise_floor:.2g})"
        return f"recoverable: layer error {self.before:.2g} to about {self.reachable:.2g} {noise}"


def forecast(plan: Plan, running: Factors) -> Forecast:
    """What the plan will reach, and where the chip is with the factors that run now."""
    return Forecast(
        {name: _of_layer(one, plan.bits[name], running[name]) for name, one in plan.solved.items()}
    )


def _of_layer(one: SolvedLayer | SolvedGroups, bits: Bits, running: Surrogate) -> LayerForecast:
    s, full, gain = one.statistics, one.metric.full, one.solution.gain
    power = max(_second_moment(one, s.explained_yy + s.rest_yy, s.mean_y), _TINY)
    now = _open_power(one, running)
    rank = len(bits)
    noise = _weighed(full, noise_covariance(s, gain))
    moments = 2 * 2 * noise / s.rows  # a gain and an offset of each output are fitted to noise too
    variance = one.noise.variance().reshape(gain.shape)
    read = float((np.diagonal(full, axis1=-2, axis2=-1) * gain**2 * variance).sum())
    reached = max(remaining_power(one, bits) + moments, read)
    powers = (now, min(reached, now), float(one.worth[rank:].sum()), min(read, now))
    return LayerForecast(*(float(np.sqrt(max(part, 0.0) / power)) for part in powers))


def remaining_power(one: SolvedLayer | SolvedGroups, bits: Bits) -> float:
    """The error, as the metric weighs it, that a layer's gain leaves beside these components."""
    kept = sum(worth * (1 - lost_share(own)) for worth, own in zip(one.worth, bits, strict=False))
    beyond = float(one.solution.values.sum() - kept)
    return beyond + _weighed(one.metric.full, unexplained(one.statistics, one.solution.gain))


def _open_power(one: SolvedLayer | SolvedGroups, running: Surrogate) -> float:
    """What the layer's error is with a surrogate."""
    s = one.statistics
    gain, offset = (
        part.astype(np.float64).reshape(s.mean_y.shape) for part in (running.gain, running.offset)
    )
    left = s.map_y - s.map_z * gain[..., None, :]
    mean = s.mean_y - gain * s.mean_z - offset
    if running.rank:
        a, b = (part.astype(np.float64) for part in running.by_group)
        low_rank = (b @ a).swapaxes(-1, -2).reshape(left.shape)
        left = left - low_rank
        mean = mean - np.einsum("...dm,...d->...m", low_rank, s.mean_x)
    open_part = left.swapaxes(-1, -2) @ s.covariance_x @ left
    return _second_moment(one, open_part + unexplained(s, gain), mean)


def _second_moment(one: SolvedLayer | SolvedGroups, covariance: Float64, mean: Float64) -> float:
    full = one.metric.full
    return _weighed(full, covariance) + _weighed(full, mean[..., :, None] * mean[..., None, :])


def _weighed(full: Float64, covariance: Float64) -> float:
    """The trace of metric times covariance, over all groups where there are groups."""
    return float((full * covariance.swapaxes(-1, -2)).sum())


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
