"""Dividing a memory into slots and segments, around its bad blocks."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from agent.errors import InputError
from agent.store.superblock import COPIES, MAX_UNITS, Memory, Region, Superblock, Unit

KIB = 1024
MAX_FACTORS_BYTES = 16 * 2**20
MAX_SAMPLES_BYTES = 2**20
MAX_BUNDLE_BYTES = 257 * 2**20
HISTORY_SEGMENT_BYTES = 68 * KIB
"""More than the longest entry that a directory takes."""
_SHARE = 16
"""A slot of factors or samples gets at most this part of what is left; bundles get the rest."""


@dataclass(frozen=True)
class Wishes:
    """What a user asks of an image; None where the planner decides."""

    memory: Memory = Memory.REWRITABLE
    factor_slots: int | None = None
    factors_bytes: int | None = None
    """Of each slot, its header of 256 bytes included."""
    bundle_bytes: int | None = None


def plan(
    size_bytes: int,
    block_bytes: int,
    unit_bytes: int,
    wishes: Wishes,
    bad_blocks: AbstractSet[int] = frozenset(),
) -> Superblock:
    """Where everything lies.

    Args:
        size_bytes: of the memory.
        block_bytes: what is erased at once.
        unit_bytes: what is programmed at once.
        wishes: what the user asks for.
        bad_blocks: numbers of blocks that hold nothing.

    Raises:
        InputError: the memory is too small for that, or its first two blocks are bad.
    """
    total = size_bytes // block_bytes
    if bad_blocks & set(range(COPIES)):
        raise InputError(f"the first {COPIES} blocks must be good, {min(bad_blocks)} is bad")
    sizes = _sizes(total - COPIES - len(bad_blocks), block_bytes, wishes)
    units, end = _placed(sizes, bad_blocks)
    while end > total and wishes.bundle_bytes is None and sizes[-1][2] > 1:
        # Bad blocks cut the memory into pieces, and the largest slots have to fit between them.
        region, count, blocks = sizes[-1]
        sizes[-1] = (region, count, blocks - 1)
        units, end = _placed(sizes, bad_blocks)
    if end > total:
        raise InputError(
            f"{size_bytes} bytes are too few for this store, which needs {end * block_bytes}: use "
            "a larger --size-kib, or a smaller --bundle-kib or --factors-kib"
        )
    if len(units) > MAX_UNITS:
        raise InputError(
            f"the store would have {len(units)} slots and segments, at most {MAX_UNITS} are "
            "possible: use a smaller --slots"
        )
    return Superblock(wishes.memory, block_bytes, unit_bytes, size_bytes, tuple(units))


def _placed(
    sizes: list[tuple[Region, int, int]], bad_blocks: AbstractSet[int]
) -> tuple[list[Unit], int]:
    """The units one after the other, and the first block behind them."""
    units: list[Unit] = []
    at = COPIES
    for region, count, blocks in sizes:
        for index in range(count):
            at = _next_run(at, blocks, bad_blocks)
            units.append(Unit(region, index, at, blocks))
            at += blocks
    return units, at


def _sizes(good: int, block: int, wishes: Wishes) -> list[tuple[Region, int, int]]:
    """Of each region how many units, and the blocks of each; what changes most comes first."""
    nor = wishes.memory == Memory.NOR
    slots = wishes.factor_slots or (4 if nor else 2)
    state_count, state = (4, _blocks(8 * KIB, block)) if nor else (2, _blocks(16 * KIB, block))
    history = min(_blocks(HISTORY_SEGMENT_BYTES, block), max(2, good // 32))
    left = max(0, good - state_count * state - 4 * history)
    share = max(1, left // _SHARE)
    factors = min(share, _blocks(MAX_FACTORS_BYTES, block))
    if wishes.factors_bytes is not None:
        factors = _blocks(wishes.factors_bytes, block)
    samples = min(share, _blocks(MAX_SAMPLES_BYTES, block))
    rest = (left - slots * factors - 2 * samples) // 2
    bundle = max(1, min(rest, _blocks(MAX_BUNDLE_BYTES, block)))
    if wishes.bundle_bytes is not None:
        bundle = _blocks(wishes.bundle_bytes, block)
    return [
        (Region.STATE, state_count, state),
        (Region.HISTORY, 4, history),
        (Region.FACTORS, slots, factors),
        (Region.SAMPLES, 2, samples),
        (Region.BUNDLE, 2, bundle),
    ]


def _blocks(size_bytes: int, block_bytes: int) -> int:
    return max(1, -(-size_bytes // block_bytes))


def _next_run(at: int, blocks: int, bad: AbstractSet[int]) -> int:
    """The first block from `at` on that begins a run of good ones."""
    while met := [block for block in bad if at <= block < at + blocks]:
        at = max(met) + 1
    return at
