"""Packing of codes of a few bits into bytes, the first code in the low bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError


def pack_nibbles(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes of any shape, -8…7 or 0…15, to ceil(n/2) bytes; the first code is the low nibble."""
    flat: NDArray[np.uint8] = codes.reshape(-1).astype(np.uint8) & np.uint8(0x0F)
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[0::2] | (flat[1::2] << np.uint8(4))


def unpack_nibbles(
    packed: NDArray[np.uint8], shape: tuple[int, ...], *, signed: bool
) -> NDArray[np.int8]:
    """The inverse of `pack_nibbles`.

    Raises:
        CalibError: the number of bytes does not fit the shape.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if packed.size != (count + 1) // 2:
        raise CalibError(
            f"{packed.size} bytes of 4-bit codes do not fit shape {list(shape)}, which takes "
            f"{(count + 1) // 2}; the file is damaged: make or copy it again"
        )
    flat = np.empty(2 * packed.size, np.int8)
    flat[0::2] = packed & 0x0F
    flat[1::2] = packed >> 4
    if signed:
        flat = np.where(flat > 7, flat - 16, flat).astype(np.int8)
    return flat[:count].reshape(shape)


def pack_codes(codes: NDArray[np.int8], bits: int) -> bytes:
    """Signed codes [n] of 2 to 8 bits to ceil(n · bits / 8) bytes."""
    lowest = np.unpackbits(
        codes.reshape(-1, 1).view(np.uint8), axis=1, count=bits, bitorder="little"
    )
    return np.packbits(lowest, bitorder="little").tobytes()


def unpack_codes(packed: bytes, count: int, bits: int) -> NDArray[np.int8]:
    """The inverse of `pack_codes`, for `count` codes.

    Raises:
        CalibError: the number of bytes does not fit.
    """
    needed = (count * bits + 7) // 8
    if len(packed) != needed:
        raise CalibError(
            f"{len(packed)} bytes hold {count} codes of {bits} bits, which take {needed}; "
            "the file is damaged: make or copy it again"
        )
    taken = np.unpackbits(
        np.frombuffer(packed, np.uint8), count=count * bits, bitorder="little"
    ).reshape(count, bits)
    filled = np.repeat(taken[:, -1:], 8 - bits, axis=1)  # the sign goes on to the left
    whole = np.packbits(np.hstack([taken, filled]), axis=1, bitorder="little")
    return whole.reshape(count).view(np.int8)
