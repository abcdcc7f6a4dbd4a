"""Benchmark of the flash: what replacing 40,000 bytes of factors costs, and what power cuts leave.

    python tools/bench_flash.py [--out FILE.md]

Our factor slots and littlefs (extra `bench`) on one emulated NOR flash of 4 KiB blocks and 256-byte
pages. One replacement is recorded operation by operation; then the memory is rebuilt as it was
after each of them, and with the next one half done, and read again: the old factors, the new ones,
or neither. Two ways that everybody knows to be wrong show that the reading sees what is corrupt.
"""

from __future__ import annotations

import argparse
import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import littlefs
import numpy as np
from bench_report import machine, markdown_table
from recording_flash import BLOCK_BYTES, PAGE_BYTES, SIZE_BYTES, LittlefsContext, RecordingNor

from agent.errors import StoreError
from agent.store.bundle import bundle_bytes, open_bundle
from agent.store.image_format import format_medium
from agent.store.image_plan import Wishes
from agent.store.slot_set import SlotSet
from agent.store.store import Store
from agent.store.superblock import Memory

FACTORS_BYTES = 40_000
WARM_UP = 6
"""Replacements before the one that is recorded, so that every slot has been used."""
OLD = np.random.default_rng(1).bytes(FACTORS_BYTES)
NEW = np.random.default_rng(2).bytes(FACTORS_BYTES)


@dataclass(frozen=True)
class Subject:
    """A way to keep factors."""

    name: str
    prepare: Callable[[RecordingNor], None]
    write: Callable[[RecordingNor, bytes], None]
    read: Callable[[RecordingNor], bytes | None]


@dataclass(frozen=True)
class Figures:
    """What one replacement cost, and what was found after power cuts in it."""

    name: str
    erases: int
    programmed_bytes: int
    old: int
    new: int
    corrupt: int


def subjects() -> list[Subject]:
    """Ours with two and four slots, ours with everything a calibration writes, littlefs, wrong."""
    return [
        Subject("two slots", _formatted(2), _commit, _load),
        Subject("four slots", _formatted(4), _commit, _load),
        Subject("four slots, buffer and history too", _formatted(4), _calibration, _load),
        Subject("littlefs, file overwritten", _make_littlefs, _write_littlefs, _read_littlefs),
        Subject("wrong: in place", lambda _: None, _write_in_place, _read_in_place),
        Subject("wrong: over the active slot", _formatted(2), _write_over_active, _load),
    ]


def _store(flash: RecordingNor) -> Store:
    return Store(Path("flash"), medium=flash)


def _formatted(slots: int) -> Callable[[RecordingNor], None]:
    def prepare(flash: RecordingNor) -> None:
        format_medium(flash, Wishes(Memory.NOR, slots, FACTORS_BYTES + 256))
        _store(flash).install(open_bundle(bundle_bytes({}, {}, {})), {})

    return prepare


def _commit(flash: RecordingNor, factors: bytes) -> None:
    _store(flash).factor_slots().commit(factors)


def _calibration(flash: RecordingNor, factors: bytes) -> None:
    store = _store(flash)
    done = store.commit_factors(factors)
    store.write_buffer(bytes(680))
    store.append_history({"event": "calibration", "sequence": done.sequence, "text": "x" * 600})


def _load(flash: RecordingNor) -> bytes | None:
    try:
        found = _store(flash).load_factors()
    except StoreError:
        return None
    return found.payload if found else None


def _littlefs(flash: RecordingNor) -> littlefs.LittleFS:
    # With mount=True it would format a memory that it cannot mount.
    return littlefs.LittleFS(
        LittlefsContext(flash),
        mount=False,
        block_size=BLOCK_BYTES,
        block_count=SIZE_BYTES // BLOCK_BYTES,
        read_size=1,
        prog_size=PAGE_BYTES,
        cache_size=PAGE_BYTES,
        lookahead_size=32,
    )


def _make_littlefs(flash: RecordingNor) -> None:
    _littlefs(flash).format()


def _write_littlefs(flash: RecordingNor, factors: bytes) -> None:
    system = _littlefs(flash)
    system.mount()
    with system.open("factors", "wb") as file:
        file.write(factors)
    system.unmount()


def _read_littlefs(flash: RecordingNor) -> bytes | None:
    try:
        system = _littlefs(flash)
        system.mount()
        with system.open("factors", "rb") as file:
            return bytes(file.read())
    except (littlefs.LittleFSError, OSError):
        return None


def _write_in_place(flash: RecordingNor, factors: bytes) -> None:
    head = len(factors).to_bytes(4, "little") + zlib.crc32(factors).to_bytes(4, "little")
    flash.erase(0, -(-(len(factors) + 8) // BLOCK_BYTES) * BLOCK_BYTES)
    flash.program(0, head + factors)


def _read_in_place(flash: RecordingNor) -> bytes | None:
    size = int.from_bytes(flash.read(0, 4), "little")
    factors = flash.read(8, min(size, SIZE_BYTES - 8))
    return factors if zlib.crc32(factors).to_bytes(4, "little") == flash.read(4, 4) else None


def _write_over_active(flash: RecordingNor, factors: bytes) -> None:
    """Into the slot that is active, as who has forgotten what two slots are for."""
    slots = _store(flash).factor_slots()
    found = max(slots.slots(), key=lambda slot: slot.sequence)
    every = SlotSet(slots.flash, b"NPPF")
    every.write(found, every.header(slots.bundle_id, found.sequence + 1, factors), factors)


def figures_of(subject: Subject) -> Figures:
    """Record one replacement, then cut the power after and within each of its operations."""
    flash = RecordingNor()
    subject.prepare(flash)
    for number in range(WARM_UP):
        subject.write(flash, OLD if number == WARM_UP - 1 else NEW[::-1])
    before = bytes(flash.memory)
    flash.log.clear()
    flash.erases = flash.programmed_bytes = 0
    subject.write(flash, NEW)
    found = {"old": 0, "new": 0, "corrupt": 0}
    for memory in cut_states(before, flash.log):
        seen = subject.read(RecordingNor(bytearray(memory)))
        found["old" if seen == OLD else "new" if seen == NEW else "corrupt"] += 1
    return Figures(subject.name, flash.erases, flash.programmed_bytes, **found)


def cut_states(before: bytes, log: list[tuple[int, bytes]]) -> Iterator[bytes]:
    """The memory before each operation, and with some of its bits changed."""
    generator, memory = np.random.default_rng(3), bytearray(before)
    for offset, data in log:
        yield bytes(memory)
        place = slice(offset, offset + len(data))
        chance = generator.integers(0, 256, len(data), np.uint8).tobytes()
        torn = bytes(
            (old & c) | (new & ~c & 0xFF)
            for old, new, c in zip(memory[place], data, chance, strict=True)
        )
        yield bytes(memory[: place.start] + torn + memory[place.stop :])
        memory[place] = data
    yield bytes(memory)


def report(found: list[Figures]) -> str:
    """The document."""
    rows = [
        [
            one.name,
            str(one.erases),
            f"{one.programmed_bytes:,}",
            f"{one.corrupt} of {one.old + one.new + one.corrupt}",
            f"{one.old}, {one.new}",
        ]
        for one in found
    ]
    head = ["how", "erases", "bytes programmed", "corrupt", "old, new"]
    digest = hashlib.sha256(OLD + NEW).hexdigest()[:12]
    return f"""# Replacing factors on a flash

{machine(f"littlefs-python {version('littlefs-python')}, factors {digest}")}

Made by `tools/bench_flash.py`. {FACTORS_BYTES:,} bytes of factors are replaced on an emulated NOR
flash of {SIZE_BYTES // 2**20} MiB, {BLOCK_BYTES:,}-byte blocks and {PAGE_BYTES}-byte pages. The
power is cut before each operation and within it (some bits changed, some not), and the memory is
read again. *Corrupt*: neither the old factors nor the new ones.

{markdown_table(head, rows)}

The payload alone needs 10 erases and {FACTORS_BYTES:,} bytes. Ours adds a header of 60 bytes and
the count of erases, 8; littlefs its directory. *Buffer and history too* is all that an accepted
calibration writes on a NOR flash. The last two rows are there to fail: without a second place, or
with the slot that is active overwritten, most cuts leave nothing.
"""


def main() -> None:
    """Measure, print, and write the document if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    text = report([figures_of(subject) for subject in subjects()])
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
