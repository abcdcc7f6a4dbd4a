"""Factors as bytes, and the rounding that this implies.

A and B are stored by component (row of A, column of B) as codes times a float32 scale: A with 16
(float), 8 or 4 bits, B, which is much smaller, with 16 or 8. Gain and offset are float32. The
layout is in docs/format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.schemes.packing import pack_nibbles, unpack_nibbles

Float32 = NDArray[np.float32]
_HEAD = struct.Struct("<HBBI")  # format, bits, 0, layers
_LAYER = struct.Struct("<HHII")  # rank, 0, inputs, outputs
_FORMAT = 1
PRECISIONS = (16, 8, 4)
_SMALLEST_STEP = 2.0**-100
"""A row of smaller steps is zero; products of steps and codes never leave the normal numbers."""


def encode_factors(factors: Factors, layers: Sequence[LinearLayer], bits: int) -> bytes:
    """Factors to bytes, layers in the order of the network.

    Raises:
        CalibError: a factor is not finite, or `bits` is not 16, 8 or 4.
    """
    if bits not in PRECISIONS:
        raise CalibError(f"factors are stored with 16, 8 or 4 bits, not {bits}")
    blocks = [_HEAD.pack(_FORMAT, bits, 0, len(layers))]
    for layer in layers:
        s = factors[layer.name]
        if not all(np.isfinite(part).all() for part in (s.gain, s.offset, s.a, s.b)):
            raise CalibError(f"layer {layer.name}: the factors are not finite; nothing is stored")
        blocks.append(_LAYER.pack(s.rank, 0, layer.inputs, layer.outputs))
        blocks += [s.gain.astype("<f4").tobytes(), s.offset.astype("<f4").tobytes()]
        blocks += [_encode_matrix(s.a, bits), _encode_matrix(s.b.T, bits_of_b(bits))]
    return b"".join(blocks)


def bits_of_b(bits: int) -> int:
    """Bits of B's codes, where A's have `bits`."""
    return max(bits, 8)


def component_bytes(layer: LinearLayer, bits: int) -> int:
    """What one component of a layer takes: a row of A a group, a column of B, their scales."""
    return _matrix_bytes(layer.groups, layer.inputs, bits) + _matrix_bytes(
        1, layer.outputs, bits_of_b(bits)
    )


def encoded_bytes(layers: Sequence[LinearLayer], ranks: Mapping[str, int], bits: int) -> int:
    """The length of what `encode_factors` makes of factors of these ranks."""
    size = _HEAD.size
    for layer in layers:
        rank = ranks[layer.name]
        size += _LAYER.size + 8 * layer.outputs
        size += _matrix_bytes(layer.groups * rank, layer.inputs, bits)
        size += _matrix_bytes(rank, layer.outputs, bits_of_b(bits))
    return size


def _matrix_bytes(rows: int, columns: int, bits: int) -> int:
    return 4 * rows + (rows * columns * bits + 7) // 8


def steps_of(matrix: NDArray[np.floating], bits: int) -> Float32:
    """The step of each row's codes, [rows].

    A row that lies on a grid already (see `calib.rounding`) keeps it, even where its largest code
    is not the largest possible; else the row's largest entry becomes the largest code. Steps of 8
    and 4 bits have 16 significant bits, so that a step times a code is exact: what was rounded
    once comes back from storage bit for bit, however often.
    """
    largest = np.abs(matrix).max(axis=1, initial=0.0)
    if bits == 16:
        return _usable(largest)
    limit = 2 ** (bits - 1) - 1
    steps = _usable(_short(largest / limit))
    for code in range(limit // 2 + 1, limit):
        step = _usable(_short(largest / code))
        on_grid = (np.rint(matrix / step[:, None]) * step[:, None] == matrix).all(axis=1)
        steps = np.where(on_grid, step, steps)
    return steps


def _usable(steps: NDArray[np.floating]) -> Float32:
    narrow = steps.astype("<f4")
    return np.where(narrow > _SMALLEST_STEP, narrow, np.float32(1))


def _short(steps: NDArray[np.floating]) -> Float32:
    """Steps cut to 16 significant bits."""
    return (steps.astype("<f4").view("<u4") & np.uint32(0xFFFFFF00)).view("<f4")


@np.errstate(under="ignore")  # next to its row's largest, such a number is zero
def _encode_matrix(matrix: Float32, bits: int) -> bytes:
    scales = steps_of(matrix, bits)
    limit = float(2 ** (bits - 1) - 1)
    relative = matrix / scales[:, None]
    if bits == 16:
        with np.errstate(under="ignore"):  # next to others of its row, such a value is zero
            return bytes(scales.tobytes() + relative.astype("<f2").tobytes())
    codes = np.clip(np.rint(relative), -limit, limit).astype(np.int8)
    return bytes(scales.tobytes() + (pack_nibbles(codes) if bits == 4 else codes).tobytes())


class _Reader:
    """Takes arrays off the front of bytes, never more than there are."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.place = 0

    def take(self, count: int) -> bytes:
        end = self.place + count
        if end > len(self.payload):
            raise CalibError(
                f"factors end after {len(self.payload)} bytes where {end} were announced; "
                "they are damaged: calibrate again"
            )
        block = self.payload[self.place : end]
        self.place = end
        return block

    def floats(self, count: int) -> Float32:
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def matrix(self, rows: int, columns: int, bits: int) -> Float32:
        scales = self.floats(rows)[:, None]
        if bits == 4:
            packed = np.frombuffer(self.take((rows * columns + 1) // 2), np.uint8)
            return unpack_nibbles(packed, (rows, columns), signed=True) * scales
        kind = "<f2" if bits == 16 else "i1"
        codes = np.frombuffer(self.take(rows * columns * bits // 8), kind)
        return codes.reshape(rows, columns).astype(np.float32) * scales


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # damage is found by what it gives
def decode_factors(payload: bytes, layers: Sequence[LinearLayer]) -> Factors:
    """The inverse of `encode_factors`, for the same network.

    Raises:
        CalibError: the bytes are damaged or belong to another network.
    """
    reader = _Reader(payload)
    version, bits, _, count = _HEAD.unpack(reader.take(_HEAD.size))
    if version != _FORMAT or bits not in PRECISIONS or count != len(layers):
        raise CalibError(
            f"factors of format {version} with {bits} bits for {count} layers do not fit this "
            f"network of {len(layers)} layers (format {_FORMAT}); calibrate again"
        )
    surrogates: Mapping[str, Surrogate] = {
        layer.name: _decode_layer(reader, layer, bits) for layer in layers
    }
    if reader.place != len(payload):
        raise CalibError("factors have bytes left over; they are damaged: calibrate again")
    return Factors(surrogates)


def _decode_layer(reader: _Reader, layer: LinearLayer, bits: int) -> Surrogate:
    rank, _, inputs, outputs = _LAYER.unpack(reader.take(_LAYER.size))
    if (inputs, outputs) != (layer.inputs, layer.outputs):
        raise CalibError(
            f"layer {layer.name}: factors are for {inputs} inputs and {outputs} outputs, the "
            f"network has {layer.inputs} and {layer.outputs}; calibrate again"
        )
    gain, offset = reader.floats(outputs), reader.floats(outputs)
    a = reader.matrix(layer.groups * rank, inputs, bits)
    b = reader.matrix(rank, outputs, bits_of_b(bits)).T
    if not all(np.isfinite(part).all() for part in (gain, offset, a, b)):
        raise CalibError(
            f"layer {layer.name}: stored factors are not finite; they are damaged: calibrate again"
        )
    return Surrogate(gain, offset, a, b)


def rounded(factors: Factors, layers: Sequence[LinearLayer], bits: int) -> Factors:
    """The factors as they come back from storage: what is verified is what is stored."""
    return decode_factors(encode_factors(factors, layers, bits), layers)
