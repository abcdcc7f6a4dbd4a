"""Boards behind real ptys and sockets, for tests that come from the other side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.link.board import Board
from agent.link.server import Server
from agent.link.service import LinkService, ServeOptions
from agent.link.staging import StagingArea

OPEN = ServeOptions()


@contextmanager
def serving(
    board: Board, directory: Path, *urls: str, options: ServeOptions = OPEN
) -> Iterator[LinkService]:
    """A board at these lines; a pty where none is named. Uploads go into `directory`/upload."""
    server = Server(board, StagingArea(directory / "upload"))
    with LinkService(server, urls or ("pty:",), options, lambda _sentence: None) as service:
        yield service
    server.jobs.wait(10)
