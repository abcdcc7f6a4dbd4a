"""A NOR flash in memory for benchmarks, which remembers what was done to it; and littlefs on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import littlefs

from agent.store.nor_medium import check_only_clears, pages

SIZE_BYTES, BLOCK_BYTES, PAGE_BYTES = 2**20, 4096, 256


@dataclass
class RecordingNor:
    """A NOR flash in memory, with its rules, that remembers each page and block it changed."""

    memory: bytearray = field(default_factory=lambda: bytearray(b"\xff" * SIZE_BYTES))
    log: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, what stands there afterwards)."""
    erases: int = 0
    programmed_bytes: int = 0
    size_bytes = SIZE_BYTES
    block_bytes = BLOCK_BYTES
    unit_bytes = PAGE_BYTES
    wears = True

    def read(self, offset: int, length: int) -> bytes:
        """See `agent.store.medium.Medium.read`."""
        return bytes(self.memory[offset : offset + length])

    def program(self, offset: int, data: bytes) -> None:
        """See `agent.store.medium.Medium.program`."""
        check_only_clears(self.read(offset, len(data)), data, "the flash", offset)
        for at, page in pages(offset, data):
            self._change(at, page)
            self.programmed_bytes += len(page)

    def erase(self, offset: int, length: int) -> None:
        """See `agent.store.medium.Medium.erase`."""
        for at in range(offset, offset + length, BLOCK_BYTES):
            self._change(at, b"\xff" * BLOCK_BYTES)
            self.erases += 1

    def _change(self, offset: int, data: bytes) -> None:
        self.log.append((offset, data))
        self.memory[offset : offset + len(data)] = data


class LittlefsContext(littlefs.UserContext):  # type: ignore[misc]  # it ships no types
    """littlefs on the same flash."""

    def __init__(self, flash: RecordingNor) -> None:
        """Live on this flash."""
        self.flash = flash
        self.in_size = SIZE_BYTES

    def read(self, cfg: object, block: int, off: int, size: int) -> bytes:  # noqa: ARG002
        """Read within a block."""
        return self.flash.read(block * BLOCK_BYTES + off, size)

    def prog(self, cfg: object, block: int, off: int, data: bytes) -> int:  # noqa: ARG002
        """Program within a block."""
        self.flash.program(block * BLOCK_BYTES + off, bytes(data))
        return 0

    def erase(self, cfg: object, block: int) -> int:  # noqa: ARG002
        """Erase a block."""
        self.flash.erase(block * BLOCK_BYTES, BLOCK_BYTES)
        return 0

    def sync(self, cfg: object) -> int:  # noqa: ARG002
        """Nothing waits."""
        return 0
