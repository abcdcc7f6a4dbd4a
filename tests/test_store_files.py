"""The store's buffer and history: their bytes, their bounds, and what damage costs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import (
    StoreError,
)
from agent.store import history as histories
from agent.store.buffer_file import HEADER_BYTES
from agent.store.slots import StoredFactors
from agent.store.store import Store
from tests.store_samples import FIRST, passing_store, used_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return used_store(tmp_path / "place" / "store")


@given(st.data())
def test_a_damaged_buffer_is_empty_with_a_warning(data: st.DataObject) -> None:
    with passing_store() as store:
        store.write_buffer(b"samples" * 20)
        path = store.directory / "buffer.bin"
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        else:
            bit = data.draw(st.integers(0, len(content) * 8 - 1))
            content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        found = store.read_buffer()
        assert found.payload is None
        assert found.warning is not None
        assert "the sample buffer starts empty" in found.warning


def test_a_buffer_of_another_version_is_empty_with_a_warning(store: Store) -> None:
    fields = struct.pack("<4sHH32sII", b"NPPB", 2, 0, bytes.fromhex(FIRST.id), 0, 0)
    path = store.directory / "buffer.bin"
    path.write_bytes(fields + struct.pack("<I", zlib.crc32(fields)))
    warning = store.read_buffer().warning
    assert warning is not None
    assert "version 2, where 1 is known" in warning
    assert store.load_factors() == StoredFactors(2, b"two")


def test_the_buffer_has_these_bytes(store: Store) -> None:
    written = store.write_buffer(b"abc")
    data = (store.directory / "buffer.bin").read_bytes()
    assert written == len(data) == HEADER_BYTES + 3
    assert data[:8] == b"NPPB\x01\x00\x00\x00"
    assert data[8:40].hex() == FIRST.id
    assert data[40:48].hex() == "03000000c2412435"  # CRC-32 of "abc" is 352441c2
    assert data[52:] == b"abc"


def test_a_buffer_or_entry_too_large_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="67108865 bytes"):
        store.write_buffer(bytes(64 * 2**20 + 1))
    with pytest.raises(StoreError, match="too large for the history"):
        store.append_history({"text": "x" * 70_000})
    assert store.read_buffer().payload == b"samples"


def test_a_history_line_has_these_bytes(store: Store) -> None:
    line = (store.directory / "history.jsonl").read_bytes()
    assert line == b'{"crc32":"eff96397","content":{"event":"calibrated","sequence":1}}\n'


def test_a_torn_last_line_is_left_out_and_the_next_entry_is_whole(store: Store) -> None:
    path = store.directory / "history.jsonl"
    whole = path.read_bytes()
    for size in range(1, len(whole)):
        path.write_bytes(whole + whole[:size])
        kept = store.read_history()
        assert len(kept.entries) + kept.damaged_lines == 2
        store.append_history({"n": size})
        assert store.read_history().entries[-1] == {"n": size}
        assert store.read_history().entries[0]["sequence"] == 1


@given(st.integers(0, 10**6))
def test_a_flipped_bit_costs_only_the_lines_it_touches(position: int) -> None:
    with passing_store() as store:
        for number in range(5):
            store.append_history({"number": number})
        path = store.directory / "history.jsonl"
        data = bytearray(path.read_bytes())
        bit = position % (len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        found = store.read_history()
        assert len(found.entries) >= 3
        numbers = [entry["number"] for entry in found.entries]
        assert numbers == sorted(set(numbers) & set(range(5)))


def test_the_history_is_bounded_and_keeps_the_newest(store: Store) -> None:
    path = store.directory / "history.jsonl"
    line = path.read_bytes()
    path.write_bytes(line * (histories.MAX_ENTRIES - 1))
    store.append_history({"n": 1})
    assert len(store.read_history().entries) == histories.MAX_ENTRIES
    store.append_history({"n": 2})
    entries = store.read_history().entries
    assert len(entries) == histories.MAX_ENTRIES // 2 + 1
    assert entries[-2:] == ({"n": 1}, {"n": 2})


def test_the_history_is_bounded_in_bytes(store: Store) -> None:
    for number in range(60):
        store.append_history({"n": number, "text": "x" * 60_000})
    assert (store.directory / "history.jsonl").stat().st_size <= histories.MAX_BYTES
    numbers = [entry["n"] for entry in store.read_history().entries]
    assert numbers == list(range(numbers[0], 60))
    assert len(numbers) >= 8


def test_a_foreign_giant_in_place_of_the_history_is_not_read(store: Store) -> None:
    with (store.directory / "history.jsonl").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StoreError, match="damaged or not ours"):
        store.read_history()
