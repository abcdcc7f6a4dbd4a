"""Data files: what is read, and how everything else is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.data_file import read_data
from agent.errors import InputError

X = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
Y = np.array([0, 1, 2, 1])


def file_of(folder: Path, **contents: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **contents)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("data")


NUMBERS = st.one_of(
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(sizes=(16, 32), endianness="?"),
)


@given(
    arrays.arrays(
        NUMBERS,
        arrays.array_shapes(min_dims=1, max_dims=4),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.booleans(),
    st.booleans(),
)
def test_every_numeric_type_becomes_float32(
    folder: Path,
    x: np.ndarray[Any, Any],
    fortran: bool,  # noqa: FBT001 -- drawn
    compressed: bool,  # noqa: FBT001 -- drawn
) -> None:
    file = io.BytesIO()
    ordered = np.asfortranarray(x) if fortran else x
    (np.savez_compressed if compressed else np.savez)(file, x=ordered)
    path = folder / "x.npz"
    path.write_bytes(file.getvalue())
    found = read_data(path)
    assert found.y is None
    assert found.x.dtype == np.float32
    with np.errstate(under="ignore"):
        assert np.array_equal(found.x, x.astype(np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_labels_are_whole_numbers_of_any_type(kind: type, tmp_path: Path) -> None:
    labels = np.array([0, 1, 1, 0]).astype(kind)
    found = read_data(file_of(tmp_path, x=X, y=labels))
    assert found.y is not None
    assert found.y.dtype == np.int64
    assert found.y.tolist() == [0, 1, 1, 0]


def test_a_key_names_its_arrays(tmp_path: Path) -> None:
    path = file_of(tmp_path, train_x=X, train_y=Y, test_x=X + 1, test_y=Y)
    assert read_data(path, "test").x[0, 0, 0] == 1
    with pytest.raises(InputError, match="use --key test or train"):
        read_data(path)
    with pytest.raises(InputError, match="no array 'validation_x', it holds test_x"):
        read_data(path, "validation")


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"y": Y}, "no array 'x', it holds y; call the samples x"),
        ({"x": np.float32(3)}, "holds no samples"),
        ({"x": X[:0]}, "holds no samples"),
        ({"x": X.astype(str)}, "type <U32, which is no number"),
        ({"x": X.astype(complex)}, "complex128, which is no number"),
        ({"x": np.array([{"a": 1}], dtype=object)}, "object, which is no number"),
        ({"x": np.zeros(3, [("a", "f4")])}, "which is no number"),
        ({"x": np.where(X == 7, np.nan, X)}, "sample 1 of 'x' holds NaN"),
        ({"x": np.where(X == 20, np.inf, X)}, "sample 3 of 'x' holds NaN"),
        ({"x": X.astype(float) * 1e300}, "beyond float32"),
        ({"x": X, "y": Y + 0.5}, "labels 'y' are not whole numbers"),
        ({"x": X, "y": np.array([0, np.nan, 1, 1])}, "labels 'y' are not whole numbers"),
        ({"x": X, "y": np.array(["cat"] * 4)}, "which is no number"),
    ],
)
def test_what_is_no_sample_or_label_is_named(
    contents: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_data(file_of(tmp_path, **contents))
    assert said in str(caught.value)


def _npy_in_zip(header: bytes, values: bytes, version: bytes = b"\x01\x00") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        npy = b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + values
        archive.writestr("x.npy", npy)
    return file.getvalue()


def _header(shape: str, kind: str = "<f4") -> bytes:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged or no .npz file"),
        (b"hello", "is damaged or no .npz file"),
        (b"\x93NUMPY\x01\x00", "is damaged or no .npz file"),
        (_npy_in_zip(_header("(1000000000000,)"), b"abcd"), "4 are there"),
        (_npy_in_zip(_header("(1, 2)"), b"abcd"), "would take 8 bytes, 4 are there"),
        (_npy_in_zip(_header("(1,)"), b"abcdefgh"), "would take 4 bytes, 8 are there"),
        (_npy_in_zip(_header("(-1,)"), b"abcd"), "-1"),
        (_npy_in_zip(_header("(1,)", "|O"), b"abcd"), "object, which is no number"),
        (_npy_in_zip(_header("(1,)"), b"abcd", b"\x07\x00"), "damaged or no .npz file"),
        (_npy_in_zip(b"__import__('os')\n", b"abcd"), "damaged or no .npz file"),
    ],
)
def test_damaged_and_foreign_files_are_one_sentence(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_data(path)
    assert said in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.npz", tmp_path):
        with pytest.raises(InputError, match="cannot read the data file"):
            read_data(path)


def _saved() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=X, y=Y)
    return file.getvalue()


SAVED = _saved()


def _cut(data: bytes, at: int, _: int) -> bytes:
    return data[:at]


def _flip(data: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


@given(
    st.sampled_from([_cut, _flip]),
    st.integers(0, len(SAVED) - 1),
    st.integers(0, 7),
)
def test_any_damage_is_seen_or_harmless(
    folder: Path, damage: Callable[[bytes, int, int], bytes], at: int, bit: int
) -> None:
    path = folder / "damaged.npz"
    path.write_bytes(damage(SAVED, at, bit))
    try:
        found = read_data(path)
    except InputError:
        return
    assert np.array_equal(found.x, X)
    assert found.y is None or np.array_equal(found.y, Y)
