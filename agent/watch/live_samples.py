"""Which live inputs are worth their bytes: those that the chip answers wrong, new and fresh ones.

A sample's value is the product of three factors: its loss, that is how far the chip's answer is
from the float network's, which the board computes in idle time; how far it lies from the samples
that are kept already; and how recent it is. Samples that are alike drive each other out, old ones
fade, and in a bounded number of bytes the least valuable leaves first.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.buffer import BufferedSample, Origin
from calib.references import SampleCodes, encode_samples

Float32 = NDArray[np.float32]

_HEAD = struct.Struct("<Bdd")  # bytes a value, scale, offset
_FEATURES = 32


@dataclass(frozen=True)
class LiveRules:
    """How much is kept, and for how long."""

    capacity_bytes: int = 128 * 1024
    half_life_s: float = 7 * 86_400.0
    """After so long a sample is worth half."""

    loss_unit: float = 5e-4
    """A loss that does not show: what is answered right is kept for what is new in it."""


@dataclass(frozen=True)
class LiveSample:
    """A live input that is kept."""

    number: int
    """A running one."""

    data: bytes
    """See `encode_live`."""

    features: tuple[float, ...]
    """A coarse picture of the input, by which samples are compared."""

    loss: float
    """Of the chip's answer, as a share of what answers say."""

    taken_s: float
    """Agent time."""


def live_sample(number: int, x: Float32, loss: float, now_s: float) -> LiveSample:
    """A live input [...] as it is kept; its loss is `Decision.losses` over `answer_scale`."""
    return LiveSample(number, encode_live(x), _features(x), loss, now_s)


def offered(
    kept: Sequence[LiveSample], new: Iterable[LiveSample], rules: LiveRules, now_s: float
) -> tuple[LiveSample, ...]:
    """What is kept once some samples more have been seen, the most valuable first.

    Inputs whose loss is no number are not taken: nobody knows what they are.
    """
    candidates = [*kept, *(one for one in new if math.isfinite(one.loss))]
    chosen: list[LiveSample] = []
    used = 0
    for one, _ in valued(candidates, rules, now_s):
        used += _bytes(one)
        if used > rules.capacity_bytes:
            break
        chosen.append(one)
    return tuple(chosen)


def valued(
    samples: Sequence[LiveSample], rules: LiveRules, now_s: float
) -> list[tuple[LiveSample, float]]:
    """Samples with their values, the most valuable first.

    Greedy: each next sample is the one whose worth, times its distance from those before it, is the
    largest (see `calib.coverage`); the distance counts in parts of the largest that there is.
    """
    if not samples:
        return []
    features = np.array([one.features for one in samples])
    worth = np.array([_worth(one, rules, now_s) for one in samples])
    apart = np.full(len(samples), np.inf)
    left = list(range(len(samples)))
    found: list[tuple[LiveSample, float]] = []
    reach = max(float(np.sqrt(((features - features.mean(axis=0)) ** 2).sum(axis=1)).max()), 1e-9)
    while left:
        values = worth[left] * np.minimum(apart[left] / reach, 1.0)
        best = left.pop(int(np.argmax(values)))
        found.append((samples[best], float(worth[best] * min(apart[best] / reach, 1.0))))
        distances = np.sqrt(((features - features[best]) ** 2).sum(axis=1))
        apart = np.minimum(apart, distances)
    return found


def buffered(samples: Sequence[LiveSample], rules: LiveRules, now_s: float) -> list[BufferedSample]:
    """The samples as the sample buffer keeps them over restarts."""
    return [
        BufferedSample(Origin.LIVE, one.number, value, one.taken_s, one.data)
        for one, value in valued(samples, rules, now_s)
    ]


def inputs_of(samples: Sequence[LiveSample], shape: tuple[int, ...]) -> Float32:
    """The inputs [n, ...] of kept samples, in the order in which they came."""
    ordered = sorted(samples, key=lambda one: one.number)
    if not ordered:
        return np.zeros((0, *shape), np.float32)
    return np.stack([decode_live(one.data, shape) for one in ordered])


def recalled(
    kept: Iterable[BufferedSample], shape: tuple[int, ...], rules: LiveRules
) -> tuple[LiveSample, ...]:
    """The live samples of a buffer, after a restart; their losses are measured anew in time.

    Samples that are not of the network's shape are left out.
    """
    found = []
    for one in kept:
        if one.origin is not Origin.LIVE:
            continue
        try:
            x = decode_live(one.data, shape)
        except (struct.error, ValueError):
            continue
        found.append(LiveSample(one.index, one.data, _features(x), one.value, one.measured_at_s))
    return offered((), found, replace(rules, half_life_s=math.inf), 0.0)


def encode_live(x: Float32) -> bytes:
    """An input in the fewest bytes that lose nothing that matters, see `encode_samples`."""
    codes = encode_samples(x[None])
    width = codes.codes.dtype.itemsize
    return _HEAD.pack(width, codes.scale, codes.offset) + codes.codes.tobytes()


def decode_live(data: bytes, shape: tuple[int, ...]) -> Float32:
    """The inverse of `encode_live`, for an input of a shape.

    Raises:
        ValueError: the bytes are not of such an input.
        struct.error: there are too few.
    """
    width, scale, offset = _HEAD.unpack_from(data)
    kind = {1: np.uint8, 2: np.float16}.get(width)
    if kind is None or len(data) != _HEAD.size + width * math.prod(shape):
        raise ValueError(f"{len(data)} bytes are no input of shape {list(shape)}")
    codes = np.frombuffer(data, kind, offset=_HEAD.size).reshape(1, *shape)
    return np.asarray(SampleCodes(codes, scale, offset).decoded(np.array([0]))[0])


def _worth(one: LiveSample, rules: LiveRules, now_s: float) -> float:
    """Without regard to the others."""
    age_s = max(now_s - one.taken_s, 0.0)
    return (one.loss + rules.loss_unit) * math.exp2(-min(age_s / rules.half_life_s, 1000.0))


def _bytes(one: LiveSample) -> int:
    return BufferedSample(Origin.LIVE, one.number, 0.0, 0.0, one.data).bytes


def _features(x: Float32) -> tuple[float, ...]:
    """Means over equal parts of an input, in the order of its values."""
    flat = np.asarray(x, np.float64).ravel()
    parts = np.array_split(flat, min(_FEATURES, len(flat)))
    return tuple(float(part.mean()) for part in parts)
