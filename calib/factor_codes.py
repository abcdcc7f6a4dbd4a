"""Factors as bytes, and the rounding that this implies.

A and B are stored by component: rows of A with the bits that the component was given, columns of B,
which is much smaller, with 8, or 16 where A's row has 16. Gain and offset are float16 numbers times
a float32. The layout is in docs/format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from calib.errors import CalibError
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.precision import FLOAT_BITS, PRECISIONS, bits_of_b
from calib.row_codes import Float32, decode_rows, encode_rows, row_bytes

_HEAD = struct.Struct("<HHI")  # format, 0, layers
_LAYER = struct.Struct("<HHII")  # rank, flags, inputs, outputs
_FORMAT = 2
_BESIDE = 1
"""The one flag: the branch is not to be folded into the weights."""

_PLAIN = (FLOAT_BITS, FLOAT_BITS)
"""Bits of gain and offset, two rows of one matrix."""


def encode_factors(factors: Factors, layers: Sequence[LinearLayer]) -> bytes:
    """Factors to bytes, layers in the order of the network.

    Raises:
        CalibError: a factor is not finite, or there is no such precision.
    """
    blocks = [_HEAD.pack(_FORMAT, 0, len(layers))]
    for layer in layers:
        s = factors[layer.name]
        bits = s.bits or (FLOAT_BITS,) * s.rank
        _check(layer, s, bits)
        plain = np.stack([s.gain, s.offset])
        blocks += [
            _LAYER.pack(s.rank, _BESIDE * s.beside, layer.inputs, layer.outputs),
            bytes(bits),
        ]
        blocks += [encode_rows(plain, _PLAIN), encode_rows(s.a, bits * s.groups)]
        blocks.append(encode_rows(s.b.T, [bits_of_b(one) for one in bits]))
    return b"".join(blocks)


def _check(layer: LinearLayer, s: Surrogate, bits: tuple[int, ...]) -> None:
    if not all(np.isfinite(part).all() for part in (s.gain, s.offset, s.a, s.b)):
        raise CalibError(f"layer {layer.name}: the factors are not finite; nothing is stored")
    if len(bits) != s.rank or not set(bits) <= set(PRECISIONS):
        raise CalibError(
            f"layer {layer.name}: {s.rank} components cannot be stored with {list(bits)} bits; "
            f"each takes one of {', '.join(map(str, PRECISIONS))}"
        )


def component_bytes(layer: LinearLayer, bits: int) -> int:
    """What one component of a layer takes: a row of A a group, a column of B, their steps."""
    rows_of_a = layer.groups * row_bytes(layer.inputs, bits)
    return 1 + rows_of_a + row_bytes(layer.outputs, bits_of_b(bits))


def encoded_bytes(layers: Sequence[LinearLayer], bits: Mapping[str, Sequence[int]]) -> int:
    """The length of what `encode_factors` makes of factors whose components have these bits."""
    size = _HEAD.size
    for layer in layers:
        size += _LAYER.size + 2 * row_bytes(layer.outputs, FLOAT_BITS)
        size += sum(component_bytes(layer, one) for one in bits[layer.name])
    return size


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

    def rows(self, columns: int, bits: Sequence[int]) -> Float32:
        size = sum(row_bytes(columns, one) for one in bits)
        return decode_rows(self.take(size), columns, bits)


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # damage is found by what it gives
def decode_factors(payload: bytes, layers: Sequence[LinearLayer]) -> Factors:
    """The inverse of `encode_factors`, for the same network.

    Raises:
        CalibError: the bytes are damaged or belong to another network.
    """
    reader = _Reader(payload)
    version, _, count = _HEAD.unpack(reader.take(_HEAD.size))
    if version != _FORMAT or count != len(layers):
        raise CalibError(
            f"factors of format {version} for {count} layers do not fit this network of "
            f"{len(layers)} layers (format {_FORMAT}); calibrate again"
        )
    surrogates: Mapping[str, Surrogate] = {
        layer.name: _decode_layer(reader, layer) for layer in layers
    }
    if reader.place != len(payload):
        raise CalibError("factors have bytes left over; they are damaged: calibrate again")
    return Factors(surrogates)


def _decode_layer(reader: _Reader, layer: LinearLayer) -> Surrogate:
    rank, flags, inputs, outputs = _LAYER.unpack(reader.take(_LAYER.size))
    if (inputs, outputs) != (layer.inputs, layer.outputs):
        raise CalibError(
            f"layer {layer.name}: factors are for {inputs} inputs and {outputs} outputs, the "
            f"network has {layer.inputs} and {layer.outputs}; calibrate again"
        )
    if flags & ~_BESIDE:
        raise CalibError(
            f"layer {layer.name}: stored factors have the flags {flags:#x}, of which this version "
            f"knows {_BESIDE:#x}; they are damaged or newer: calibrate again"
        )
    bits = tuple(reader.take(rank))
    unknown = set(bits) - set(PRECISIONS)
    if unknown:
        raise CalibError(
            f"layer {layer.name}: a component of the stored factors has {min(unknown)} bits, which "
            "cannot be; they are damaged: calibrate again"
        )
    gain, offset = reader.rows(outputs, _PLAIN)
    a = reader.rows(inputs, bits * layer.groups)
    b = reader.rows(outputs, [bits_of_b(one) for one in bits]).T
    if not all(np.isfinite(part).all() for part in (gain, offset, a, b)):
        raise CalibError(
            f"layer {layer.name}: stored factors are not finite; they are damaged: calibrate again"
        )
    return Surrogate(gain, offset, a, b, bits, beside=bool(flags & _BESIDE))


def rounded(factors: Factors, layers: Sequence[LinearLayer]) -> Factors:
    """The factors as they come back from storage: what is verified is what is stored."""
    return decode_factors(encode_factors(factors, layers), layers)
