"""Arrays in `.npy` form behind each other, out of bytes as they arrive; no I/O here.

An array says itself how long it is, so nothing stands between two. Whatever is wrong with a header
ends the stream: where the next array begins cannot be known then.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import InputError

MAX_FRAME_BYTES = 64 * 2**20
_MAGIC_BYTES = 8
_HEADER_LIMIT_BYTES = 4096
_LENGTH_BYTES = {1: 2, 2: 4}
"""Of the field with the header's length, by major version of the format."""

_READERS: dict[int, Callable[..., tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    1: np.lib.format.read_array_header_1_0,
    2: np.lib.format.read_array_header_2_0,
}


class NpyStream:
    """Takes bytes in pieces of any size and gives arrays.

    Args:
        where: the stream's name, for sentences.
    """

    def __init__(self, where: str) -> None:
        """Nothing has arrived."""
        self._where = where
        self._held = bytearray()
        self._at = 0
        """How much of that has been read; it is dropped once for each piece, not for each array."""

        self._frames = 0

    def feed(self, data: bytes) -> list[NDArray[Any]]:
        """The arrays that are complete now.

        Raises:
            InputError: what arrived is no array of numbers, or too large; earlier arrays of the
                same piece are given first, and the error with the next call.
        """
        self._held += data
        found: list[NDArray[Any]] = []
        try:
            while (array := self._next()) is not None:
                found.append(array)
        except InputError:
            if not found:
                raise
        finally:
            del self._held[: self._at]
            self._at = 0
        return found

    def finish(self) -> None:
        """Say that nothing more will arrive.

        Raises:
            InputError: an array was begun, or what arrived last is none.
        """
        if self._held:
            self._header()  # which may say what is wrong with it
            raise InputError(
                f"{self._where}: array {self._frames + 1} ends early, after {len(self._held)} bytes"
            )

    def _next(self) -> NDArray[Any] | None:
        header = self._header()
        if header is None:
            return None
        begin, shape, fortran, dtype = header
        end = begin + math.prod(shape) * dtype.itemsize
        if len(self._held) < end:
            return None
        values = np.frombuffer(bytes(self._held[begin:end]), dtype)
        self._at = end
        self._frames += 1
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)

    def _header(self) -> tuple[int, tuple[int, ...], bool, np.dtype[Any]] | None:
        """Where values begin, shape, Fortran order and type; None until all of it is there."""
        first = self._at
        start = bytes(self._held[first : first + _MAGIC_BYTES])
        if not b"\x93NUMPY".startswith(start[:6]):
            raise self._wrong("does not begin as one in .npy form")
        if len(start) < _MAGIC_BYTES:
            return None
        version = start[6]
        if version not in _LENGTH_BYTES:
            raise self._wrong(f"has version {version} of NumPy's format, which is not known here")
        length_at = first + _MAGIC_BYTES
        values_at = length_at + _LENGTH_BYTES[version]
        if len(self._held) < values_at:
            return None
        length = int.from_bytes(self._held[length_at:values_at], "little")
        if length > _HEADER_LIMIT_BYTES:
            raise self._wrong(f"has a header of {length} bytes, more than {_HEADER_LIMIT_BYTES}")
        values_at += length
        if len(self._held) < values_at:
            return None
        return values_at, *self._read_header(version, bytes(self._held[length_at:values_at]))

    def _read_header(
        self, version: int, header: bytes
    ) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        try:
            shape, fortran, dtype = _READERS[version](
                io.BytesIO(header), max_header_size=_HEADER_LIMIT_BYTES
            )
        except Exception as error:  # NumPy evaluates the text, which raises many kinds
            raise self._wrong(f"has a header that cannot be read ({error})") from error
        if dtype.kind not in "biuf":
            raise self._wrong(f"holds the type {str(dtype)[:40]}, which is no number")
        size = math.prod(shape) * dtype.itemsize
        if not 0 <= size <= MAX_FRAME_BYTES:
            raise self._wrong(f"would take {size} bytes, at most {MAX_FRAME_BYTES} are taken")
        return shape, fortran, dtype

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"{self._where}: array {self._frames + 1} {what}; what follows cannot be told from it"
        )


def arrays_of(data: bytes, where: str) -> list[NDArray[Any]]:
    """All arrays of a whole file.

    Raises:
        InputError: it holds none, or anything else.
    """
    stream = NpyStream(where)
    found = stream.feed(data)
    stream.finish()
    if not found:
        raise InputError(f"{where} is empty")
    return found
