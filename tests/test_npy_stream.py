"""Arrays behind each other, out of pieces of any size; whatever else arrives is said."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.errors import InputError
from agent.service.npy_stream import MAX_FRAME_BYTES, NpyStream, arrays_of

Array = np.ndarray[Any, Any]

arrays = hnp.arrays(
    dtype=st.one_of(hnp.floating_dtypes(), hnp.integer_dtypes(), hnp.boolean_dtypes()),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


def npy(array: Array, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=True)
    return file.getvalue()


@given(
    some=st.lists(st.tuples(arrays, st.booleans(), st.sampled_from([(1, 0), (2, 0)])), max_size=5),
    data=st.data(),
)
def test_pieces_make_the_arrays_that_were_written(some: list[Any], data: st.DataObject) -> None:
    written = [np.asfortranarray(x) if fortran else x for x, fortran, _ in some]
    content = b"".join(npy(x, v) for x, (_, _, v) in zip(written, some, strict=True))
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=20).map(sorted))
    stream, found = NpyStream("test"), []
    for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        found += stream.feed(content[begin:end])
    stream.finish()
    assert len(found) == len(written)
    for one, other in zip(found, written, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert one.tobytes() == other.tobytes()


@given(content=st.binary(max_size=300), begin=st.sampled_from([b"", b"\x93NUMPY\x01\x00v\x00{"]))
def test_any_bytes_are_an_array_or_an_error(content: bytes, begin: bytes) -> None:
    try:
        arrays_of(begin + content, "test")
    except InputError as error:
        assert "test" in str(error)  # noqa: PT017  # what else it may be is the test's point


def test_arrays_in_front_of_an_error_are_given_first() -> None:
    stream = NpyStream("test")
    assert len(stream.feed(npy(np.arange(3)) + npy(np.arange(4)) + b"no array")) == 2
    with pytest.raises(InputError, match="test: array 3 does not begin as one"):
        stream.feed(b"")
    with pytest.raises(InputError, match="test: array 3 does not begin as one"):
        stream.finish()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (npy(np.arange(9))[:-1], "ends early"),
        (npy(np.arange(9))[:9], "ends early"),
        (b"\x93NUM", "ends early"),
        (b"PK\x03\x04", "does not begin as one"),
        (b"\x93NUMPY\x09\x00", "version 9"),
        (npy(np.array([{}, []], object)), "type object, which is no number"),
        (npy(np.array(["a"])), "which is no number"),
        (npy(np.zeros(2, complex)), "which is no number"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,)}"), "at most"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}"), "would take"),
        (header("__import__('os').abort()"), "cannot be read"),
        (header("{" * 400), "cannot be read"),
        (b"\x93NUMPY\x01\x00\xff\xff", "header of 65535 bytes"),
    ],
)
def test_what_is_no_array(content: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what):
        arrays_of(content, "test")


def test_nothing_is_allocated_for_what_a_header_only_claims() -> None:
    claim = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({MAX_FRAME_BYTES // 4},)}}"
    stream = NpyStream("test")
    assert stream.feed(header(claim)) == []
    assert len(stream._held) < 200
