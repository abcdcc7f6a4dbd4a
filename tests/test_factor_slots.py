"""The factor slots on a NOR flash in memory: order of writes, bytes, damage, roll-back."""

from __future__ import annotations

import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import NothingToRollBackError, StoreError
from agent.store import slots as slots_module
from agent.store.slot_header import (
    HEADER_BYTES,
    MAX_SEQUENCE,
    PAYLOAD_OFFSET,
    RETIRED_OFFSET,
    WEAR_BYTES,
    WEAR_OFFSET,
    encode_wear,
)
from agent.store.slots import WEAR_SPREAD, FactorSlots, Rollback, StoredFactors
from tests.fakes import NorFlash, PowerLoss

BUNDLE = "0123456789abcdef" * 4
OTHER = "f" * 64
PAYLOAD = b"factors of the first calibration"

GOLDEN_HEADER = bytes.fromhex(
    "4e505046 0100 0001"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    "0100000000000000 20000000 ef65029d de70cdd5"
)


def slots_of(flash: NorFlash, bundle: str = BUNDLE, retired_up_to: int = 0) -> FactorSlots:
    return FactorSlots(flash, bundle, retired_up_to)


def crafted(sequence: int, length: int, payload: bytes, version: int = 1) -> bytes:
    """A header with right checksums, whatever it says."""
    fields = struct.pack(
        "<4sHH32sQII",
        b"NPPF",
        version,
        PAYLOAD_OFFSET,
        bytes.fromhex(BUNDLE),
        sequence,
        length,
        zlib.crc32(payload),
    )
    return fields + struct.pack("<I", zlib.crc32(fields))


def test_a_committed_slot_has_these_bytes() -> None:
    flash = NorFlash()
    commit = slots_of(flash).commit(PAYLOAD)
    assert bytes(flash.memory[0][:HEADER_BYTES]) == GOLDEN_HEADER
    assert flash.memory[0][HEADER_BYTES:WEAR_OFFSET] == b"\xff" * 36
    assert flash.memory[0][WEAR_OFFSET : WEAR_OFFSET + 8].hex() == "01000000feffffff"
    assert flash.memory[0][WEAR_OFFSET + 8 : PAYLOAD_OFFSET] == b"\xff" * 152
    assert flash.memory[0][PAYLOAD_OFFSET : PAYLOAD_OFFSET + len(PAYLOAD)] == PAYLOAD
    assert flash.memory[1] == b"\xff" * flash.slot_bytes
    assert (commit.sequence, commit.bytes_written) == (1, HEADER_BYTES + WEAR_BYTES + len(PAYLOAD))


def test_a_retired_slot_differs_in_one_word() -> None:
    flash = NorFlash()
    slots_of(flash).commit(PAYLOAD)
    before = bytes(flash.memory[0])
    slots_of(flash).rollback()
    after = bytes(flash.memory[0])
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == list(range(RETIRED_OFFSET, RETIRED_OFFSET + 4))
    assert after[RETIRED_OFFSET : RETIRED_OFFSET + 4] == bytes(4)


class Recorder:
    """A flash that notes the order in which it is called."""

    def __init__(self) -> None:
        self.inner = NorFlash()
        self.slot_bytes, self.slot_count = self.inner.slot_bytes, self.inner.slot_count
        self.wears = self.inner.wears
        self.calls: list[tuple[str, int, int]] = []

    def read(self, slot: int, offset: int, length: int) -> bytes:
        return self.inner.read(slot, offset, length)

    def program(self, slot: int, offset: int, data: bytes) -> None:
        self.calls.append(("program", slot, offset))
        self.inner.program(slot, offset, data)

    def erase(self, slot: int, length: int) -> None:
        self.calls.append(("erase", slot, length))
        self.inner.erase(slot, length)

    def sync(self) -> None:
        self.calls.append(("sync", 0, 0))

    def bad_slots(self) -> set[int]:
        return self.inner.bad_slots()

    def mark_bad(self, slot: int) -> None:
        self.inner.mark_bad(slot)


def test_the_header_is_written_last_and_after_a_sync() -> None:
    flash = Recorder()
    FactorSlots(flash, BUNDLE).commit(PAYLOAD)
    assert flash.calls == [
        ("erase", 0, PAYLOAD_OFFSET + len(PAYLOAD)),
        ("program", 0, WEAR_OFFSET),
        ("program", 0, PAYLOAD_OFFSET),
        ("sync", 0, 0),
        ("program", 0, 0),
        ("sync", 0, 0),
    ]


def test_slots_alternate_and_numbers_rise() -> None:
    flash = NorFlash()
    for number in range(1, 8):
        assert slots_of(flash).commit(b"%d" % number).sequence == number
        assert slots_of(flash).load() == StoredFactors(number, b"%d" % number)
        assert slots_of(flash).available() == [n for n in (number, number - 1) if n]


def test_40000_bytes_take_the_erases_and_bytes_that_they_must() -> None:
    flash = NorFlash(slot_bytes=12 * 4096)
    slots_of(flash).commit(bytes(40_000))
    assert (flash.erases, flash.programmed_bytes) == (10, 40_000 + HEADER_BYTES + WEAR_BYTES)


def test_roll_back_goes_to_the_older_then_to_none_then_says_so() -> None:
    flash = NorFlash()
    slots_of(flash).commit(b"1")
    slots_of(flash).commit(b"2")
    assert slots_of(flash).rollback() == Rollback(2, 1)
    assert slots_of(flash).load() == StoredFactors(1, b"1")
    assert slots_of(flash).rollback() == Rollback(1, 0)
    assert slots_of(flash).load() is None
    with pytest.raises(NothingToRollBackError, match="no factors are active"):
        slots_of(flash).rollback()
    assert slots_of(flash).commit(b"3").sequence == 3, "numbers of retired factors stay used"


def test_after_a_roll_back_the_target_is_not_overwritten() -> None:
    flash = NorFlash()
    slots_of(flash).commit(b"1")
    slots_of(flash).commit(b"2")
    slots_of(flash).rollback()
    slots_of(flash).commit(b"3")
    assert slots_of(flash).available() == [3, 1]


@pytest.mark.parametrize("to", [-1, 1, 3, 4, 99])
def test_a_roll_back_to_what_is_not_there_names_what_is(to: int) -> None:
    flash = NorFlash()
    for text in (b"1", b"2", b"3"):
        slots_of(flash).commit(text)
    before = [bytes(memory) for memory in flash.memory]
    with pytest.raises(NothingToRollBackError, match=f"back to {to}: 3 is active, .* is 2, 0"):
        slots_of(flash).rollback(to)
    assert [bytes(memory) for memory in flash.memory] == before


def test_factors_of_another_bundle_or_an_earlier_installation_are_not_seen() -> None:
    flash = NorFlash()
    slots_of(flash).commit(b"1")
    assert slots_of(flash, OTHER).load() is None
    assert slots_of(flash, retired_up_to=1).load() is None
    with pytest.raises(NothingToRollBackError):
        slots_of(flash, OTHER).rollback(0)
    assert slots_of(flash, OTHER).commit(b"other").sequence == 2
    assert slots_of(flash, OTHER).load() == StoredFactors(2, b"other")
    assert slots_of(flash, retired_up_to=7).commit(b"later").sequence == 8


def test_a_number_used_elsewhere_is_skipped() -> None:
    assert slots_of(NorFlash()).commit(b"1", above=41).sequence == 42


def test_factors_that_do_not_fit_are_refused_before_anything_is_erased() -> None:
    flash = NorFlash()
    slots_of(flash).commit(bytes(flash.slot_bytes - PAYLOAD_OFFSET))
    with pytest.raises(StoreError, match="12033 bytes, a slot takes 12032"):
        slots_of(flash).commit(bytes(flash.slot_bytes - PAYLOAD_OFFSET + 1))
    assert slots_of(flash).available() == [1]


@pytest.mark.parametrize(
    "header",
    [
        crafted(1, 2**32 - 1, b"x"),
        crafted(1, 12 * 1024, b"x"),
        crafted(0, 1, b"x"),
        crafted(MAX_SEQUENCE, 1, b"x"),
        crafted(2**64 - 1, 1, b"x"),
        crafted(1, 1, b"x", version=2),
        crafted(1, 1, b"y"),
        bytes(HEADER_BYTES),
    ],
    ids=["4 GiB", "12 KiB", "number 0", "large", "largest", "version 2", "wrong payload", "zeros"],
)
def test_a_header_that_says_the_impossible_is_ignored(header: bytes) -> None:
    flash = NorFlash()
    flash.memory[1][:HEADER_BYTES] = header
    flash.memory[1][PAYLOAD_OFFSET] = ord("x")
    assert slots_of(flash).load() is None
    assert slots_of(flash).commit(b"new").sequence in (1, 2)
    assert slots_of(flash).load() is not None


def test_the_last_sequence_number_is_an_error_and_no_overflow() -> None:
    flash = NorFlash()
    flash.memory[1][:HEADER_BYTES] = crafted(MAX_SEQUENCE - 1, 1, b"x")
    with pytest.raises(StoreError, match="beyond the last"):
        slots_of(flash).commit(b"new")


def test_a_memory_that_forgets_is_noticed_and_the_old_factors_stay() -> None:
    flash = NorFlash()
    slots_of(flash).commit(b"good")
    flash.memory[1] = WornBytes(flash.memory[1])
    with pytest.raises(StoreError, match="no slot is left that new factors can be written to"):
        slots_of(flash).commit(bytes(3000))
    assert flash.bad == {1}
    assert slots_of(flash).load() == StoredFactors(1, b"good")


def test_a_file_that_forgets_is_noticed_and_not_marked() -> None:
    flash = NorFlash()
    slots_of(flash).commit(b"good")
    flash.memory[1], flash.wears = WornBytes(flash.memory[1]), False
    with pytest.raises(StoreError, match="slot 1 does not hold what was written"):
        slots_of(flash).commit(bytes(3000))
    assert flash.bad == set()
    assert slots_of(flash).load() == StoredFactors(1, b"good")


def test_a_bad_slot_is_skipped_where_there_are_more() -> None:
    flash = NorFlash(slot_count=4)
    slots_of(flash).commit(b"good")
    flash.memory[1], flash.memory[2] = WornBytes(flash.memory[1]), WornBytes(flash.memory[2])
    assert slots_of(flash).commit(bytes(3000)).sequence == 2
    assert flash.bad == {1, 2}
    assert slots_of(flash).available() == [2, 1]
    for number in range(3, 9):
        assert slots_of(flash).commit(bytes(3000)).sequence == number
        assert slots_of(flash).available() == [number, number - 1]


@given(st.integers(2, 6), st.lists(st.sampled_from("crrn"), min_size=1, max_size=150))
def test_the_slots_wear_evenly_whatever_is_done(slot_count: int, actions: list[str]) -> None:
    flash = NorFlash(slot_bytes=4096, slot_count=slot_count)
    for index in range(slot_count):
        flash.program(index, WEAR_OFFSET, encode_wear(0))  # as formatting does
    expected: list[int] = []
    for action in actions + ["c"] * 40 + ["c", "r"] * 60:
        slots = slots_of(flash)
        if action == "c":
            expected.insert(0, slots.commit(b"x" * 50).sequence)
        elif slots.available():
            slots.rollback(0 if action == "n" else None)
            expected = [] if action == "n" else expected[1:]
        found = slots.available()
        assert found[:1] == expected[:1], "the newest that was not rolled back"
        assert set(found) <= set(expected)
        expected = found
        assert max(flash.wear) - min(flash.wear) <= WEAR_SPREAD + 1
        assert [slot.wear for slot in slots.slots()] == flash.wear


def test_a_spared_slot_gives_the_active_factors_a_home_at_every_power_cut() -> None:
    def worn() -> NorFlash:
        flash = NorFlash(slot_bytes=4096, slot_count=3)
        slots_of(flash).commit(b"active")
        while slots_module._targets(slots_of(flash).slots())[1] is None:
            slots_of(flash).commit(b"on trial")
            slots_of(flash).rollback()
        return flash

    cuts, copies = 0, 0
    for torn in (False, True):
        for cut_at in itertools.count():
            flash = worn()
            flash.cut_at, flash.torn = flash.operations + cut_at, torn
            try:
                slots_of(flash).commit(b"new")
            except PowerLoss:
                found = slots_of(flash).load()
                assert found is not None
                assert found.payload in (b"active", b"new"), cut_at
                copies += [slot.sequence for slot in slots_of(flash).slots()].count(1) == 2
                cuts += 1
            else:
                break
    assert cuts > 10
    assert copies > 0, "the active factors were never copied"


class WornBytes(bytearray):
    """Memory whose byte 1000 is stuck at ones."""

    def __setitem__(self, key: slice, value: bytes) -> None:  # type: ignore[override]
        super().__setitem__(key, value)
        super().__setitem__(1000, 0xFF)


def test_every_power_cut_on_nor_leaves_old_or_new() -> None:
    cuts = 0
    for change, torn in itertools.product(("commit", "rollback", "none"), (False, True)):
        for cut_at in itertools.count():
            flash = NorFlash()
            slots_of(flash).commit(b"1" * 5000)
            slots_of(flash).commit(b"2" * 5000)
            wanted = {"commit": b"3" * 9000, "rollback": b"1" * 5000, "none": None}[change]
            flash.cut_at, flash.torn = flash.operations + cut_at, torn
            try:
                act(flash, change)
            except PowerLoss:
                found = slots_of(flash).load()
                assert (found.payload if found else None) in (b"2" * 5000, wanted), (change, cut_at)
                cuts += 1
                flash.cut_at = 2**31
                assert slots_of(flash).commit(b"after").sequence >= 3
                assert slots_of(flash).load().payload == b"after"
            else:
                break
    print(f"{cuts} cuts on NOR flash")  # noqa: T201 - the count is a result
    assert cuts > 80


def act(flash: NorFlash, change: str) -> None:
    if change == "commit":
        slots_of(flash).commit(b"3" * 9000)
    else:
        slots_of(flash).rollback(1 if change == "rollback" else 0)


@given(st.data())
def test_any_damage_of_a_slot_hides_it_or_changes_nothing(data: st.DataObject) -> None:
    flash = NorFlash(slot_bytes=4096)
    slots_of(flash).commit(PAYLOAD)
    slots_of(flash).commit(PAYLOAD * 2)
    end = PAYLOAD_OFFSET + len(PAYLOAD) * 2
    for bit in data.draw(st.lists(st.integers(0, end * 8 - 1), min_size=1, max_size=4)):
        flash.memory[1][bit // 8] ^= 1 << bit % 8
    newest, older = StoredFactors(2, PAYLOAD * 2), StoredFactors(1, PAYLOAD)
    assert slots_of(flash).load() in (newest, older)


@given(st.integers(0, PAYLOAD_OFFSET + len(PAYLOAD) * 2 - 1))
def test_any_truncation_of_a_slot_hides_it(size: int) -> None:
    flash = NorFlash(slot_bytes=4096)
    slots_of(flash).commit(PAYLOAD)
    slots_of(flash).commit(PAYLOAD * 2)
    flash.memory[1][size:] = b"\xff" * (flash.slot_bytes - size)
    assert slots_of(flash).load() == StoredFactors(1, PAYLOAD)


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_any_bytes_at_all_are_no_factors(first: bytes, second: bytes) -> None:
    flash = NorFlash(slot_bytes=4096)
    for slot, content in enumerate((first, second)):
        flash.memory[slot][: len(content)] = content
    assert slots_of(flash).load() is None
    assert slots_of(flash).available() == []
