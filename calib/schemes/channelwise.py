"""Finding the codes of a layer whose input channels have levels.

Steps of activations: for each channel the one, of a grid, whose codes come nearest to the values
that the layer was given. Then the float weights are fitted anew, by least squares, to the inputs as
the codes give them, and rounded row by row, the coarsest level first: each row's errors are passed
on to the rows that are still to come, in proportion to how their inputs go together (GPTQ, arXiv
2210.17323, sec. 3; see `calib.rounding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.rounding import passing_on
from calib.schemes.mixed import Level, MixedLayer, centre_of
from calib.schemes.mixed_bytes import on_float16_grid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
LARGEST_ROWS = 2048
"""Longer layers are rounded to the nearest: passing errors on costs the cube of it."""

STEP_GRID = np.geomspace(1.0, 0.12, 20)
_STEP_ROWS = 512
"""Of a layer, at most, that steps of activations are found on."""

_RIDGE = 1e-3
_SMALLEST = 1e-12
"""Channels and weights of which nothing is larger are idle."""


@np.errstate(under="ignore")  # next to large ones, such a number is zero
def quantise_layer(
    weight: Float32, rows: Float32, bits: Sequence[int] | NDArray[np.intp], taps: int
) -> MixedLayer:
    """A layer's channels in their levels.

    Args:
        weight: [groups, d, m], float; rows run over taps, then over channels.
        rows: [n, groups, d], what the layer is usually given.
        bits: [channels], of each channel of a group.
        taps: of the kernel.
    """
    each = np.asarray(bits, np.intp)
    bare = [
        bare_level(rows, np.flatnonzero(each == one), int(one), taps, weight.shape[2])
        for one in np.unique(each)
    ]
    return rounded_layer(weight, rows, bare, taps)


def bare_level(
    rows: Float32, channels: NDArray[np.intp], bits: int, taps: int, outputs: int
) -> Level:
    """A level whose steps are found and whose weights are not."""
    groups = rows.shape[1]
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), _STEP_ROWS)).astype(int)]
    values = few.reshape(len(few), groups, taps, -1)[..., channels]
    seen = values.swapaxes(1, 2).reshape(-1, groups, len(channels))
    zero_point, steps = _best_steps(seen, bits)
    return Level(
        bits=bits,
        channels=channels,
        zero_point=zero_point,
        steps=on_float16_grid(steps),
        codes=np.zeros((groups, taps * len(channels), outputs), np.int8),
        scales=np.ones((groups, outputs), np.float32),
    )


def _best_steps(values: Float32, bits: int) -> tuple[int, Float64]:
    """A zero point for all channels, and each one's step, of values [n, groups, c]."""
    high = np.maximum(values.max(axis=0), 0).astype(np.float64)
    low = np.minimum(values.min(axis=0), 0).astype(np.float64)
    top = 2**bits - 1
    zero_point = 0
    if low.min() < 0:
        share = float(np.mean(-low[low < 0] / (high - low)[low < 0]))
        zero_point = min(round(share * top), max(top - 1, 0))
    widest = high / (top - zero_point)
    if zero_point:
        widest = np.maximum(widest, -low / zero_point)
    widest = np.where(widest > _SMALLEST, widest, 1.0)
    best, least = widest, np.full(widest.shape, np.inf)
    for shrink in STEP_GRID:
        steps = widest * shrink
        codes = np.clip(np.rint(values / steps), -zero_point, top - zero_point)
        errors = np.square(codes * steps - values).sum(axis=0)
        best, least = np.where(errors < least, steps, best), np.minimum(errors, least)
    return zero_point, best


def rounded_layer(weight: Float32, rows: Float32, bare: Sequence[Level], taps: int) -> MixedLayer:
    """Weights fitted to the codes of the inputs, and rounded with their errors passed on."""
    channels = weight.shape[1] // taps
    places = [_rows_of(level, taps, channels) for level in bare]
    order = np.concatenate(places)
    codes = [level.encode_rows(rows, taps).astype(np.float64) - level.zero_point for level in bare]
    inputs = np.concatenate(codes, axis=2).swapaxes(0, 1)  # [groups, n, d], coarse levels first
    given = rows[..., order].swapaxes(0, 1).astype(np.float64)
    unit = np.concatenate([np.tile(level.steps, taps) for level in bare], axis=1)
    target = weight[:, order].astype(np.float64)
    covariance = inputs.swapaxes(1, 2) @ inputs / len(rows)
    cross = inputs.swapaxes(1, 2) @ given / len(rows)
    wanted = _fitted(target * unit[..., None], covariance, cross @ target)
    power = np.diagonal(covariance, axis1=1, axis2=2)
    scaled = [
        replace(level, scales=_scales(wanted[:, part], power[:, part], level.bits))
        for level, part in zip(bare, _parts(places), strict=True)
    ]
    found = _round(wanted, covariance, scaled, _parts(places))
    levels = [
        replace(level, codes=found[:, part])
        for level, part in zip(scaled, _parts(places), strict=True)
    ]
    return MixedLayer(taps, tuple(levels))


def nearest_scales(weight: Float32, level: Level, taps: int) -> Float32:
    """For each output [groups, m] the scale of weights [groups, d, m] that are all of one level."""
    unit = np.tile(level.steps, taps).astype(np.float64)[..., None]
    return _scales(weight * unit, np.ones(weight.shape[:2]), level.bits)


def nearest_layer(weight: Float32, layer: MixedLayer) -> MixedLayer:
    """Other weights [groups, d, m] in a layer's codes: its scales and steps stay as they are."""
    levels = []
    for level in layer.levels:
        rows = _rows_of(level, layer.taps, layer.channels)
        wanted = weight[:, rows] * np.tile(level.steps, layer.taps)[..., None]
        codes = _nearest(wanted, level.scales[:, None], level.bits).astype(np.int8)
        levels.append(replace(level, codes=codes))
    return MixedLayer(layer.taps, tuple(levels))


def nearest_weights(weight: Float32, level: Level, taps: int) -> Float32:
    """Weights [groups, d, m] where all channels are of one level and no error is passed on."""
    unit = np.tile(level.steps, taps).astype(np.float64)[..., None]
    wanted = weight * unit
    scales = nearest_scales(weight, level, taps)[:, None]
    values = (_nearest(wanted, scales, level.bits) + level.centre) * scales
    return np.asarray(values / unit, np.float32)


def _rows_of(level: Level, taps: int, channels: int) -> NDArray[np.intp]:
    """The layer's rows that a level reads, in the level's order."""
    return (np.arange(taps)[:, None] * channels + level.channels).reshape(-1)


def _parts(places: Sequence[NDArray[np.intp]]) -> list[slice]:
    """Where each level's rows stand when all levels follow each other."""
    ends = np.cumsum([len(place) for place in places]).tolist()
    return [slice(end - len(place), end) for end, place in zip(ends, places, strict=True)]


def _fitted(nominal: Float64, covariance: Float64, cross: Float64) -> Float64:
    """Weights [groups, d, m] that give with coded inputs what the float ones give with clean."""
    d = nominal.shape[1]
    mean = np.trace(covariance, axis1=1, axis2=2) / d
    ridge = np.where(mean > 0, _RIDGE * mean, 1.0)[:, None, None] * np.eye(d)
    missing = cross - covariance @ nominal
    return np.asarray(nominal + np.linalg.solve(covariance + ridge, missing))


def _scales(wanted: Float64, power: Float64, bits: int) -> Float32:
    """For each output [groups, m] the scale whose codes come nearest.

    Args:
        wanted: weights [groups, d, m], in steps.
        power: [groups, d]: how much each row counts.
        bits: of the codes.
    """
    largest = np.abs(wanted).max(axis=1)
    centre = centre_of(bits)
    widest = largest / (2 ** (bits - 1) - 1 + centre)
    widest = np.maximum(widest, _SMALLEST)  # codes of few bits are never zero, their steps may be
    best, least = widest, np.full(widest.shape, np.inf)
    for shrink in STEP_GRID:
        scales = widest * shrink
        values = (_nearest(wanted, scales[:, None], bits) + centre) * scales[:, None]
        errors = np.einsum("gd,gdm->gm", power, np.square(values - wanted))
        best, least = np.where(errors < least, scales, best), np.minimum(errors, least)
    return on_float16_grid(best)


def _nearest(
    wanted: NDArray[np.floating], scales: NDArray[np.floating], bits: int
) -> NDArray[np.floating]:
    """The codes nearest to weights; their range is as symmetric as their centre allows."""
    centre, half = centre_of(bits), 2 ** (bits - 1)
    lowest = -half if centre else 1 - half
    return np.clip(np.rint(wanted / scales - centre), lowest, half - 1)


def _round(
    wanted: Float64, covariance: Float64, levels: Sequence[Level], parts: Sequence[slice]
) -> NDArray[np.int8]:
    """Codes [groups, d, m], each row's errors passed on to those after it."""
    d = wanted.shape[1]
    passing = passing_on(covariance) if d <= LARGEST_ROWS else None
    codes = np.empty(wanted.shape, np.int8)
    errors = np.zeros_like(wanted)
    for level, part in zip(levels, parts, strict=True):
        scales = level.scales.astype(np.float64)
        for j in range(part.start, part.stop):
            row = wanted[:, j]
            if passing is not None:
                row = row + (passing[:, j, None, :j] @ errors[:, :j])[:, 0]
            found = _nearest(row, scales, level.bits)
            codes[:, j] = found
            errors[:, j] = wanted[:, j] - (found + level.centre) * scales
    return codes
