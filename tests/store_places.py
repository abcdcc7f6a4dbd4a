"""The three kinds of place that a store can be in, small, for tests of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.errors import StoreError
from agent.store.image_format import make_image
from agent.store.image_plan import Wishes
from agent.store.nor_medium import check_only_clears, pages
from agent.store.superblock import Memory
from tests.fakes import NEVER, PowerLoss

PLACES = ("directory", "image", "nor")
SLOW_IMAGES = (PLACES[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in PLACES[1:]))
"""For tests that go through thousands of reads: those of images are slow ones."""
IMAGE_BYTES = 128 * 1024


def make_place(kind: str, path: Path) -> Path:
    """A place that a store can be installed in: nothing yet for a directory."""
    if kind != "directory":
        memory = Memory.NOR if kind == "nor" else Memory.REWRITABLE
        make_image(path, IMAGE_BYTES, Wishes(memory))
    return path


class MemoryNor:
    """A NOR flash in memory that counts erases, has bad blocks, and loses power bit by bit.

    Before page or block `cut_at` the power goes; with `torn` some of that page's bits are
    programmed, or some of that block's are erased. A block in `bad` keeps a bit of its own.
    """

    block_bytes, unit_bytes, wears = 4096, 256, True

    def __init__(self, size_bytes: int = IMAGE_BYTES, bad: tuple[int, ...] = ()) -> None:
        self.size_bytes, self.bad = size_bytes, set(bad)
        self.memory = bytearray(b"\xff" * size_bytes)
        self.erases = [0] * (size_bytes // self.block_bytes)
        self.programmed_bytes = self.operations = 0
        self.cut_at, self.torn = NEVER, False
        self.generator = np.random.default_rng(0)
        self._stick()

    def copy(self) -> MemoryNor:
        other = MemoryNor(self.size_bytes, tuple(self.bad))
        other.memory[:], other.erases[:] = self.memory, self.erases
        return other

    def read(self, offset: int, length: int) -> bytes:
        data = bytes(self.memory[offset : offset + length])
        if len(data) != length:
            raise StoreError("read behind the end of the memory")
        return data

    def program(self, offset: int, data: bytes) -> None:
        check_only_clears(self.read(offset, len(data)), data, "the memory", offset)
        for at, page in pages(offset, data):
            old = self.memory[at : at + len(page)]
            late = self.generator.integers(0, 256, len(page), np.uint8).tobytes()
            torn = bytes(a & (b | c) for a, b, c in zip(old, page, late, strict=True))
            self._operation(at, torn)
            self.memory[at : at + len(page)] = page
            self.programmed_bytes += len(page)
        self._stick()

    def erase(self, offset: int, length: int) -> None:
        assert not offset % self.block_bytes
        assert not length % self.block_bytes
        for at in range(offset, offset + length, self.block_bytes):
            old = self.memory[at : at + self.block_bytes]
            early = self.generator.integers(0, 256, len(old), np.uint8).tobytes()
            self._operation(at, bytes(a | b for a, b in zip(old, early, strict=True)))
            self.memory[at : at + self.block_bytes] = b"\xff" * self.block_bytes
            self.erases[at // self.block_bytes] += 1
        self._stick()

    def _stick(self) -> None:
        for block in self.bad:
            self.memory[block * self.block_bytes + 300] = 0x55

    def _operation(self, offset: int, torn: bytes) -> None:
        if self.operations == self.cut_at:
            if self.torn:
                self.memory[offset : offset + len(torn)] = torn
            self.cut_at = NEVER
            raise PowerLoss
        self.operations += 1
