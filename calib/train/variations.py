"""More spoken words from few: features moved in time, made louder, disturbed, hidden and mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calib.graph.model import Array


@dataclass(frozen=True)
class Variation:
    """How much features [n, frames, coefficients, 1] are varied."""

    shift: int = 8
    """Frames, in both directions; the first or last frame is repeated."""

    noise: float = 0.15
    """Of each value, in deviations of its coefficient."""

    level: float = 0.5
    """Of a whole sample's coefficients, each by its own constant, in their deviations."""

    hidden: int = 8
    """At most so many frames in a row become the mean of the sample."""

    mixed: float = 0.5
    """The share of samples that become a weighted mean of two."""


def varied(
    features: Array, count: int, variation: Variation, generator: np.random.Generator
) -> Array:
    """Draw `count` variants of features [n, frames, coefficients, 1].

    What two mixed samples or a hidden part mean is for a teacher to say.
    """
    deviation = features.std(axis=(0, 1, 3), keepdims=True)[0]
    first = _moved(features, generator.integers(0, len(features), count), variation, generator)
    other = _moved(features, generator.integers(0, len(features), count), variation, generator)
    share = np.where(generator.random(count) < variation.mixed, generator.random(count), 0.0)
    share = share[:, None, None, None].astype(features.dtype)
    x = first + share * (other - first)
    level = generator.standard_normal((count, 1, *x.shape[2:])) * variation.level * deviation
    noise = generator.standard_normal(x.shape) * variation.noise * deviation
    return _hidden(x + (level + noise).astype(x.dtype), variation, generator)


def _moved(
    features: Array, which: Array, variation: Variation, generator: np.random.Generator
) -> Array:
    frames = features.shape[1]
    start = generator.integers(-variation.shift, variation.shift + 1, (len(which), 1))
    places = np.clip(start + np.arange(frames), 0, frames - 1)
    moved: Array = features[which[:, None], places]
    return moved


def _hidden(x: Array, variation: Variation, generator: np.random.Generator) -> Array:
    frames = np.arange(x.shape[1])
    length = generator.integers(0, variation.hidden + 1, (len(x), 1))
    start = generator.integers(0, x.shape[1], (len(x), 1))
    hide = (frames >= start) & (frames < start + length)
    return np.where(hide[:, :, None, None], x.mean(axis=1, keepdims=True), x)
