"""Live inputs against those that the model was packed with: has the world changed, or the chip?

Of each sample a few features are taken. Their means over windows of live samples are compared with
those of the reference samples; what is beyond the tolerated goes through a MEWMA chart. Windows
bring the features near the normal distribution, whatever a sample's is; the tolerance keeps inputs
that follow each other closely (frames of one scene) from counting as new evidence each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.watch.detectors import MEWMA
from agent.watch.normal import Normal
from agent.watch.states import HEALTHY, WATCH, Standing, next_standing

Float64 = NDArray[np.float64]

MOST_CHANNELS = 4
"""More channels than these are no colours or axes of a sensor, and are not looked at singly."""

WINDOW = 32
"""Live samples of which means are taken."""

TOLERATED = 0.5
"""Shift of a feature's mean, in deviations between reference samples, that nobody minds."""

WINDOWS_BETWEEN_FALSE_ALARMS = 2160.0
CALM_WINDOWS = 3
_CEILING = 1.25


@dataclass(frozen=True)
class InputProfile:
    """What inputs were like when the model was packed."""

    names: tuple[str, ...]
    """Of the features."""

    normal: Normal
    scale: float
    """Root mean square of the references: features have no unit."""


CALM = Standing(HEALTHY)


@dataclass(frozen=True)
class LiveInputs:
    """Live inputs, as far as they have been looked at."""

    profile: InputProfile
    memory: Float64
    count: int = 0
    """Samples in the window that is being filled."""

    total: Float64 | None = None
    """Sum of their features."""

    standing: Standing = CALM
    shifts: Float64 | None = None
    """Of the features in the last window, in deviations between reference samples."""

    @property
    def moved(self) -> bool:
        """Whether inputs are no longer like the references."""
        return self.standing.state != HEALTHY

    @property
    def most_moved(self) -> str:
        """The feature that is furthest off, and how far."""
        if self.shifts is None:
            return "nothing yet"
        worst = int(np.abs(self.shifts).argmax())
        return f"{self.profile.names[worst]} by {self.shifts[worst]:+.2g} deviations"

    def document(self) -> dict[str, Any]:
        """What JSON holds; the profile is made anew from the bundle."""
        return {
            "memory": self.memory.tolist(),
            "standing": [self.standing.state, self.standing.calm],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any], profile: InputProfile) -> LiveInputs:
        """The inverse of `document`; what does not fit the profile begins anew."""
        fresh = begin_live(profile)
        try:
            memory = np.array(document["memory"], float)
            standing = Standing(str(document["standing"][0]), int(document["standing"][1]))
        except (KeyError, TypeError, ValueError, IndexError):
            return fresh
        if memory.shape != fresh.memory.shape or standing.state not in {HEALTHY, WATCH}:
            return fresh
        return replace(fresh, memory=memory, standing=standing)


def profile_of(samples: Iterable[NDArray[np.floating]]) -> InputProfile:
    """Take the profile of reference inputs.

    Args:
        samples: arrays [n, ...] of equal sample shapes; a few at a time.
    """
    blocks = [np.asarray(block, np.float64) for block in samples]
    power = float(np.mean([np.square(block).mean() for block in blocks])) if blocks else 1.0
    scale = power**0.5 or 1.0
    names, normal = _names(blocks[0].shape[1:]), Normal.unknown(0)
    for features in (row for block in blocks for row in _features(block, scale)):
        normal = normal if normal.rounds else Normal.unknown(len(features))
        normal = normal.learn(features)
    return InputProfile(names, normal, scale)


def begin_live(profile: InputProfile) -> LiveInputs:
    """No live input has been seen."""
    return LiveInputs(profile, MEWMA.start(len(profile.names)))


def look_at_inputs(live: LiveInputs, samples: NDArray[np.floating]) -> LiveInputs:
    """Take live inputs [n, ...] in, however many; inputs that are not finite count as far off."""
    for features in _features(np.asarray(samples, np.float64), live.profile.scale):
        total = features if live.total is None else live.total + features
        live = replace(live, total=total, count=live.count + 1)
        if live.count == WINDOW:
            live = _window(live, total / WINDOW)
    return live


def _window(live: LiveInputs, mean: Float64) -> LiveInputs:
    """Judge a full window, and begin the next."""
    normal, size = live.profile.normal, len(live.profile.names)
    spread = np.sqrt(normal.spread2())
    scores = normal.joint_scores(normal.off(mean, TOLERATED * spread), WINDOW)
    limit = MEWMA.limit(WINDOWS_BETWEEN_FALSE_ALARMS, size)
    memory = MEWMA.held(MEWMA.step(live.memory, scores), _CEILING * limit)
    sign = WATCH if MEWMA.statistic(memory) > limit else HEALTHY
    standing = next_standing(live.standing, sign, CALM_WINDOWS)
    return replace(
        live,
        memory=memory,
        standing=standing,
        shifts=(mean - normal.mean) / spread,
        count=0,
        total=None,
    )


def _channel_axis(shape: tuple[int, ...]) -> int | None:
    """Of a sample: that of few channels, first or last."""
    if len(shape) < 2:
        return None
    if shape[0] <= MOST_CHANNELS and shape[0] < shape[-1]:
        return 0
    return len(shape) - 1 if shape[-1] <= MOST_CHANNELS else None


def _names(shape: tuple[int, ...]) -> tuple[str, ...]:
    axis = _channel_axis(shape)
    channels = 0 if axis is None or shape[axis] < 2 else shape[axis]
    own = [f"mean of channel {number}" for number in range(channels)]
    return ("mean", "deviation", "low end", "high end", *own)


def _features(block: Float64, scale: float) -> Float64:
    """Of samples [n, ...]: [n, features]: what their names say, in parts of the scale."""
    shape = block.shape[1:]
    finite = np.nan_to_num(block / scale, nan=1e6, posinf=1e6, neginf=-1e6)
    flat = finite.reshape(len(block), -1)
    low, high = np.quantile(flat, (0.02, 0.98), axis=1)
    columns = [flat.mean(axis=1), flat.std(axis=1), low, high]
    axis = _channel_axis(shape)
    if axis is not None and shape[axis] > 1:
        means = np.moveaxis(finite, axis + 1, 1).reshape(len(block), shape[axis], -1).mean(axis=2)
        columns += list(means.T)
    return np.stack(columns, axis=1)
