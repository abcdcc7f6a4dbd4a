"""Boards behind real ptys and sockets, for tests that come from the other side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.link.board import Board
from agent.link.server import Server
from agent.link.service import LinkService, ServeOptions
from agent.link.staging import StagingArea
from agent.link.store_board import StoreBoard
from agent.store.store import Store

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


@contextmanager
def reached(
    store: Path,
    *urls: str,
    options: ServeOptions | None = None,
    staging: StagingArea | None = None,
    **board: Any,
) -> Iterator[tuple[str, Server]]:
    """The address of a board with this store."""
    server = Server(
        StoreBoard(Store(store), **{"allow_unsigned": True, **board}),
        staging or StagingArea(store / "upload"),
    )
    service = LinkService(
        server, urls or ("pty:",), options or ServeOptions(), lambda _sentence: None
    )
    with service:
        yield service.addresses[0], server
    server.jobs.wait(20)
