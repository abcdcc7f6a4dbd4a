"""Two ptys joined by a wire of a stated baud rate that loses what it is told to."""

from __future__ import annotations

import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

START = b"\x06\x09"
_PIECE_BYTES = 32
_IDLE_S = 0.05


@dataclass
class Wire:
    """How the wire is, and what went over it."""

    bytes_per_s: float
    frame_loss: float = 0.0
    """Chance of a whole frame, either way."""

    line_loss: float = 0.0
    """Chance of one line of a frame, either way."""

    seed: int = 0
    frames_lost: int = 0
    lines_lost: int = 0


class _Direction:
    """Carries bytes one way: at the rate, and line by line where some are to be lost."""

    def __init__(self, wire: Wire, source: int, target: int, stop: threading.Event) -> None:
        self.wire, self.source, self.target, self.stop = wire, source, target, stop
        self.generator = random.Random(wire.seed + source)  # noqa: S311  # which frames are lost
        self.rest = b""
        self.dropping = False
        self.free_at = time.monotonic()

    def run(self) -> None:
        """Carry until told to stop."""
        while not self.stop.is_set():
            ready, _, _ = select.select([self.source], [], [], 0)
            if not ready:  # only now the wire has been idle, and may begin anew
                ready, _, _ = select.select([self.source], [], [], _IDLE_S)
                self.free_at = max(self.free_at, time.monotonic())
            if ready:
                with suppress(OSError):
                    self._carry(os.read(self.source, 4096))

    def _carry(self, data: bytes) -> None:
        for at in range(0, len(data), _PIECE_BYTES):
            piece = data[at : at + _PIECE_BYTES]
            self.free_at += len(piece) / self.wire.bytes_per_s
            time.sleep(max(self.free_at - time.monotonic(), 0))
            self._arrive(piece)

    def _arrive(self, piece: bytes) -> None:
        if not (self.wire.frame_loss or self.wire.line_loss):
            os.write(self.target, piece)
            return
        *lines, self.rest = (self.rest + piece).split(b"\n")
        for line in lines:
            if self._survives(line):
                os.write(self.target, line + b"\n")

    def _survives(self, line: bytes) -> bool:
        if line.startswith(START):
            self.dropping = self.generator.random() < self.wire.frame_loss
            self.wire.frames_lost += self.dropping
        if self.dropping:
            return False
        lost = self.generator.random() < self.wire.line_loss
        self.wire.lines_lost += lost
        return not lost


@contextmanager
def joined(wire: Wire, device: str) -> Iterator[str]:
    """A device whose other end is `device`, at the wire's rate.

    Args:
        wire: how it is; counts what it loses.
        device: where the board is.
    """
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    board = os.open(device, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(board)
    stop = threading.Event()
    ways = [_Direction(wire, ours, board, stop), _Direction(wire, board, ours, stop)]
    threads = [threading.Thread(target=way.run, daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for handle in (ours, theirs, board):
            os.close(handle)
