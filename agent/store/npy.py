"""Arrays as `.npy` bytes and back, checked; the only module of the store that needs NumPy."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

_HEADER_LIMIT_BYTES = 4096
"""Ours have 128; NumPy evaluates the text, so it must not be long."""


def encode(array: Array) -> bytes:
    """The array in version 1.0 of NumPy's file format, little endian, C order.

    Raises:
        ValueError: the array holds Python objects.
    """
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    file = io.BytesIO()
    np.lib.format.write_array(file, little, version=(1, 0), allow_pickle=False)
    return file.getvalue()


def decode(data: bytes | memoryview, dtype: str, shape: tuple[int, ...]) -> Array:
    """A new array from `.npy` bytes that hold exactly this type and shape.

    Raises:
        ValueError: the bytes hold another type or shape, or more or fewer values.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"it has version {version} of NumPy's format, not 1.0")
    found_shape, fortran, found = np.lib.format.read_array_header_1_0(
        file, max_header_size=_HEADER_LIMIT_BYTES
    )
    if fortran or (found.str, found_shape) != (dtype, shape):
        order = "Fortran" if fortran else "C"
        raise ValueError(
            f"it holds {found.str} {list(found_shape)} in {order} order, "
            f"the manifest says {dtype} {list(shape)} in C order"
        )
    present, wanted = len(data) - file.tell(), math.prod(shape) * found.itemsize
    if present != wanted:
        raise ValueError(f"it has {present} bytes of values, its shape needs {wanted}")
    values = np.frombuffer(data, dtype=found, count=math.prod(shape), offset=file.tell())
    return values.reshape(shape).copy()
