"""A mixed layer as bytes, and back, bit for bit; the layout stands in docs/format.md.

First the level of each channel, two bits each; then, level after level, codes packed to their bits,
scales and steps as float16. These are shares of a power of two that is kept beside the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError
from calib.schemes.mixed import LARGEST_BITS, LARGEST_LEVELS, SMALLEST_BITS, Level, MixedLayer
from calib.schemes.packing import pack_codes, unpack_codes

Float32 = NDArray[np.float32]
_LEVEL_BITS = 2
_LARGEST_EXPONENT = 100
_SMALLEST_SHARE = 2.0**-24
"""The least that float16 holds."""


@dataclass(frozen=True)
class LevelHead:
    """What is kept of a level beside its bytes."""

    bits: int
    zero_point: int
    scale_exponent: int
    """Scales are float16 shares of 2^scale_exponent."""

    step_exponent: int
    """The same of steps."""


def on_float16_grid(values: NDArray[np.floating]) -> Float32:
    """Positive values rounded so that `mixed_bytes` keeps them exactly."""
    exponent = _exponent(values)
    rounded = _rounded_shares(values, exponent)
    if rounded.max() >= 1:  # the largest was rounded up to the power of two
        exponent += 1
        rounded = _rounded_shares(values, exponent)
    return _worth(rounded, exponent)


def heads_of(layer: MixedLayer) -> tuple[LevelHead, ...]:
    """What is to be kept beside the bytes of a layer."""
    return tuple(
        LevelHead(one.bits, one.zero_point, _exponent(one.scales), _exponent(one.steps))
        for one in layer.levels
    )


def mixed_bytes(layer: MixedLayer) -> bytes:
    """All of a layer but its heads."""
    parts = [_packed_levels(layer.level_of)]
    for level, head in zip(layer.levels, heads_of(layer), strict=True):
        parts += [
            pack_codes(level.codes, level.bits),
            _shares(level.scales, head.scale_exponent),
            _shares(level.steps, head.step_exponent),
        ]
    return b"".join(parts)


def layer_bytes(layer: MixedLayer) -> int:
    """What a layer's codes, scales, steps and levels take."""
    levels = (
        (level.codes.size * level.bits + 7) // 8 + 2 * (level.scales.size + level.steps.size)
        for level in layer.levels
    )
    return (layer.channels * _LEVEL_BITS + 7) // 8 + sum(levels)


def mixed_layer(
    data: bytes, heads: Sequence[LevelHead], shape: tuple[int, int, int], taps: int
) -> MixedLayer:
    """The inverse of `mixed_bytes`.

    Args:
        data: the bytes.
        heads: of the levels, in order.
        shape: the weight's, [groups, d, m].
        taps: of the kernel.

    Raises:
        CalibError: too many or too few bytes, or levels that contradict themselves.
    """
    groups, rows, outputs = shape
    _check_heads(heads)
    reader = _Reader(data)
    channels = rows // taps
    level_of = _unpacked_levels(reader.take((channels * _LEVEL_BITS + 7) // 8), channels)
    if set(level_of.tolist()) != set(range(len(heads))):
        raise CalibError(
            f"{len(heads)} levels are described, the channels have other ones; the file is "
            "damaged: make or copy it again"
        )
    levels = tuple(
        _read_level(reader, head, np.flatnonzero(level_of == place), (groups, taps, outputs))
        for place, head in enumerate(heads)
    )
    reader.finish()
    return MixedLayer(taps, levels)


def _read_level(
    reader: _Reader, head: LevelHead, channels: NDArray[np.intp], sizes: tuple[int, int, int]
) -> Level:
    groups, taps, outputs = sizes
    shape = (groups, taps * len(channels), outputs)
    count = int(np.prod(shape))
    packed = reader.take((count * head.bits + 7) // 8)
    scales = _from_shares(reader.take(2 * groups * outputs), head.scale_exponent)
    steps = _from_shares(reader.take(2 * groups * len(channels)), head.step_exponent)
    return Level(
        bits=head.bits,
        channels=channels,
        zero_point=head.zero_point,
        steps=steps.reshape(groups, -1),
        codes=unpack_codes(packed, count, head.bits).reshape(shape),
        scales=scales.reshape(groups, outputs),
    )


@dataclass
class _Reader:
    """Hands out bytes from the front."""

    data: bytes
    place: int = 0

    def take(self, count: int) -> bytes:
        taken = self.data[self.place : self.place + count]
        self.place += count
        if len(taken) < count:
            self.finish()
        return taken

    def finish(self) -> None:
        if self.place != len(self.data):
            raise CalibError(
                f"a layer of levels has {len(self.data)} bytes, its levels take {self.place} or "
                "more; the file is damaged: make or copy it again"
            )


def _check_heads(heads: Sequence[LevelHead]) -> None:
    for head in heads:
        fits = SMALLEST_BITS <= head.bits <= LARGEST_BITS and 0 <= head.zero_point < 2**head.bits
        exponents = (head.scale_exponent, head.step_exponent)
        if not fits or max(map(abs, exponents)) > _LARGEST_EXPONENT:
            raise CalibError(f"a level is described as {head}; the file is damaged: copy it again")
    bits = [head.bits for head in heads]
    if not 1 <= len(bits) <= LARGEST_LEVELS or sorted(set(bits)) != bits:
        raise CalibError(f"levels of {bits} bits; the file is damaged: make or copy it again")


def _packed_levels(level_of: NDArray[np.uint8]) -> bytes:
    bits = np.unpackbits(level_of[:, None], axis=1, count=_LEVEL_BITS, bitorder="little")
    return np.packbits(bits, bitorder="little").tobytes()


def _unpacked_levels(packed: bytes, channels: int) -> NDArray[np.uint8]:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    pairs = bits[: channels * _LEVEL_BITS].reshape(channels, _LEVEL_BITS)
    return np.packbits(pairs, axis=1, bitorder="little").reshape(channels)


def _exponent(values: NDArray[np.floating]) -> int:
    """Of the power of two above all values."""
    return int(np.clip(np.frexp(np.max(values))[1], -_LARGEST_EXPONENT, _LARGEST_EXPONENT))


def _rounded_shares(values: NDArray[np.floating], exponent: int) -> NDArray[np.float16]:
    with np.errstate(under="ignore"):  # what is too small becomes the smallest there is
        shares = (values.astype(np.float64) * 2.0**-exponent).astype(np.float16)
    return np.maximum(shares, np.float16(_SMALLEST_SHARE))


def _shares(values: Float32, exponent: int) -> bytes:
    return (values.astype(np.float64) * 2.0**-exponent).astype("<f2").tobytes()


def _from_shares(data: bytes, exponent: int) -> Float32:
    shares = np.frombuffer(data, "<f2")
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise CalibError("a scale or step is not above zero; the file is damaged: copy it again")
    return _worth(shares, exponent)


def _worth(shares: NDArray[np.floating], exponent: int) -> Float32:
    return (shares.astype(np.float64) * 2.0**exponent).astype(np.float32)
