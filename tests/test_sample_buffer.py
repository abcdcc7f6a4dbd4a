"""The sample buffer: its bound, who leaves first, and its bytes."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buffer import BufferedSample, Origin, SampleBuffer
from agent.errors import StoreError

RECORD_BYTES = 28
SAMPLES = st.builds(
    BufferedSample,
    origin=st.sampled_from(Origin),
    index=st.integers(0, 12),
    value=st.floats(allow_nan=False),
    measured_at_s=st.floats(allow_nan=False),
    data=st.binary(max_size=40),
)


def reference(index: int, value: float, at_s: float = 0.0) -> BufferedSample:
    return BufferedSample(Origin.REFERENCE, index, value, at_s)


@given(
    offers=st.lists(st.lists(SAMPLES, max_size=8), max_size=8), capacity_bytes=st.integers(0, 400)
)
def test_the_bound_holds_and_the_lowest_leave_first(
    offers: list[list[BufferedSample]], capacity_bytes: int
) -> None:
    buffer = SampleBuffer(capacity_bytes)
    for offered in offers:
        known = {(s.origin, s.index): s for s in (*buffer.samples, *offered)}
        buffer.offer(iter(offered))
        kept = buffer.samples
        assert buffer.bytes_used == sum(RECORD_BYTES + len(s.data) for s in kept) <= capacity_bytes
        assert [s.value for s in kept] == sorted((s.value for s in kept), reverse=True)
        gone = [known.pop((s.origin, s.index)) for s in kept]
        assert gone == list(kept)  # the newest of each, unchanged
        assert all(left.value <= s.value for left in known.values() for s in kept)
        if known:  # nothing leaves without need
            best = max(known.values(), key=lambda s: (s.value, -s.origin, -s.index))
            assert buffer.bytes_used + best.bytes > capacity_bytes


def test_a_newer_measurement_replaces_an_older_one() -> None:
    buffer = SampleBuffer()
    buffer.offer([reference(3, 9.0), reference(4, 5.0)])
    buffer.offer([reference(3, 1.0, at_s=7.0)])
    assert buffer.samples == (reference(4, 5.0), reference(3, 1.0, at_s=7.0))


def test_a_live_sample_costs_its_data_and_a_reference_of_its_number_is_another() -> None:
    buffer = SampleBuffer()
    buffer.offer([reference(1, 1.0), BufferedSample(Origin.LIVE, 1, 2.0, 0.0, bytes(100))])
    assert buffer.bytes_used == 2 * RECORD_BYTES + 100


def test_what_could_not_be_valued_leaves_first() -> None:
    buffer = SampleBuffer(2 * RECORD_BYTES)
    buffer.offer([reference(0, math.nan), reference(1, -1e9), reference(2, -math.inf)])
    assert {s.index for s in buffer.samples} <= {0, 1, 2}
    assert buffer.samples[0].index == 1
    buffer.offer([reference(3, -5.0)])
    assert [s.index for s in buffer.samples] == [3, 1]


@given(samples=st.lists(SAMPLES, max_size=10))
def test_the_bytes_hold_everything(samples: list[BufferedSample]) -> None:
    buffer = SampleBuffer()
    buffer.offer(samples)
    content = buffer.to_bytes()
    assert len(content) == 8 + buffer.bytes_used
    assert SampleBuffer.from_bytes(content).samples == buffer.samples


def test_a_smaller_buffer_keeps_the_most_valuable_of_older_bytes() -> None:
    buffer = SampleBuffer()
    buffer.offer(reference(i, float(i)) for i in range(10))
    small = SampleBuffer.from_bytes(buffer.to_bytes(), 3 * RECORD_BYTES)
    assert [s.index for s in small.samples] == [9, 8, 7]


def test_golden_bytes() -> None:
    buffer = SampleBuffer()
    buffer.offer([BufferedSample(Origin.LIVE, 258, 1.5, -2.0, b"abc")])
    assert buffer.to_bytes().hex(" ") == (
        "01 00 00 00 01 00 00 00 "  # format, nothing, records
        "01 00 00 00 02 01 00 00 "  # live, nothing, index
        "00 00 00 00 00 00 f8 3f 00 00 00 00 00 00 00 c0 "  # value, measured at
        "03 00 00 00 61 62 63"  # length, data
    )


@given(samples=st.lists(SAMPLES, min_size=1, max_size=3), data=st.data())
def test_cut_or_longer_bytes_are_damaged(
    samples: list[BufferedSample], data: st.DataObject
) -> None:
    buffer = SampleBuffer()
    buffer.offer(samples)
    content = buffer.to_bytes()
    end = data.draw(st.integers(0, len(content) - 1))
    for damaged in (content[:end], content + b"\0"):
        with pytest.raises(StoreError, match="the sample buffer is damaged"):
            SampleBuffer.from_bytes(damaged)


@given(content=st.binary(max_size=80))
def test_any_bytes_are_a_buffer_or_damaged(content: bytes) -> None:
    try:
        buffer = SampleBuffer.from_bytes(content, 1000)
    except StoreError:
        return
    assert buffer.bytes_used <= 1000


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(0, 2, "format 2 where 1 is known"), (8, 7, "7 is not a valid Origin"), (4, 250, "unpack")],
)
def test_damage_is_named(offset: int, value: int, words: str) -> None:
    buffer = SampleBuffer()
    buffer.offer([reference(1, 2.0)])
    content = bytearray(buffer.to_bytes())
    content[offset] = value
    with pytest.raises(StoreError, match=words):
        SampleBuffer.from_bytes(bytes(content))


def test_an_announced_length_is_not_trusted() -> None:
    buffer = SampleBuffer()
    buffer.offer([replace(reference(1, 2.0), data=b"x")])
    content = bytearray(buffer.to_bytes())
    struct.pack_into("<I", content, 32, 2**32 - 1)
    with pytest.raises(StoreError, match="where 4294967331 were announced"):
        SampleBuffer.from_bytes(bytes(content))
