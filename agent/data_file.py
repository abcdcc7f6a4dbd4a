"""Data files: `.npz` with samples `x` and perhaps labels `y`, or `<key>_x` and `<key>_y`.

The archive's own sizes are compared with each other before anything is allocated, and no pickle is
loaded.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import InputError

MAX_ARRAY_BYTES = 2**31
_HEADER_LIMIT_BYTES = 4096
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # features of zip that Python lacks
    RuntimeError,  # encrypted
    EOFError,
    ValueError,
    OverflowError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    MemoryError,
)
"""What reading a damaged file may raise."""


@dataclass(frozen=True)
class Data:
    """Samples, and labels where there are any."""

    x: NDArray[np.float32]
    """[n, ...], in the model's own layout and range."""

    y: NDArray[np.int64] | None
    """[n]"""


def read_data(path: Path, key: str | None = None) -> Data:
    """Read samples and labels.

    Args:
        path: the `.npz` file.
        key: such as `train`, for a file with `train_x` and `train_y`.

    Raises:
        InputError: the file is missing, damaged or foreign, or holds other things than numbers.
    """
    prefix = f"{key}_" if key else ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if f"{prefix}x" not in names:
                raise InputError(_missing(path, f"{prefix}x", names))
            x = _read(archive, f"{prefix}x", path)
            y = _read(archive, f"{prefix}y", path) if f"{prefix}y" in names else None
    except OSError as error:
        raise InputError(f"cannot read the data file {path}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise InputError(
            f"{path} is damaged or no .npz file ({str(error) or type(error).__name__}); make it "
            "with numpy.savez(path, x=samples, y=labels)"
        ) from error
    return Data(_samples(x, f"{prefix}x", path), _labels(y, f"{prefix}y", path))


def _missing(path: Path, wanted: str, names: set[str]) -> str:
    keys = sorted(name.removesuffix("_x") for name in names if name.endswith("_x"))
    there = ", ".join(sorted(name[:40] for name in names)[:8]) or "nothing"
    hint = f"use --key {' or '.join(keys[:4])}" if keys else "call the samples x and the labels y"
    return f"{path} has no array {wanted!r}, it holds {there}; {hint}"


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        shape, fortran, dtype, header_bytes = _header(file)
        if dtype.hasobject or dtype.kind not in "biuf":
            raise InputError(
                f"{path}: array {name!r} has type {str(dtype)[:40]}, which is no number; give "
                "integers or floats"
            )
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_ARRAY_BYTES or entry.file_size != header_bytes + size:
            raise InputError(
                f"{path}: array {name!r} of shape {list(shape)} would take {size} bytes, "
                f"{entry.file_size - header_bytes} are there and at most {MAX_ARRAY_BYTES} "
                "allowed; the file is damaged or too large"
            )
        values = np.frombuffer(file.read(size + 1), dtype, count=math.prod(shape))
        file.read(1)  # the end of the entry is where its checksum is compared
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of NumPy's format")
    shape, fortran, dtype = readers[version](file, max_header_size=_HEADER_LIMIT_BYTES)
    return shape, fortran, dtype, file.tell()


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # what overflows is found below
def _samples(x: NDArray[Any], name: str, path: Path) -> NDArray[np.float32]:
    if not x.ndim or not x.size:
        raise InputError(f"{path}: array {name!r} of shape {list(x.shape)} holds no samples")
    samples = x.astype(np.float32)
    finite = np.isfinite(samples).reshape(len(x), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{path}: sample {int(np.argmin(finite))} of {name!r} holds NaN, infinity or a value "
            "beyond float32; leave it out"
        )
    return samples


def _labels(y: NDArray[Any] | None, name: str, path: Path) -> NDArray[np.int64] | None:
    if y is None:
        return None
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (np.rint(y) == y).all()):
        raise InputError(f"{path}: labels {name!r} are not whole numbers; give class numbers")
    return y.astype(np.int64)
