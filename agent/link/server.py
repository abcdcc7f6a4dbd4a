"""The server without its ports: who is connected, what is answered, who is told what."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from agent.link.board import Board
from agent.link.codes import Group
from agent.link.commands import Commands
from agent.link.connection import Connection
from agent.link.enumeration_group import enumeration_commands
from agent.link.file_group import file_commands
from agent.link.jobs import Job, Jobs
from agent.link.npp_group import knowledge_commands
from agent.link.npp_jobs import job_commands
from agent.link.os_group import os_commands
from agent.link.session import Access, Session
from agent.link.settings_group import settings_commands
from agent.link.staging import StagingArea
from agent.link.statistics_group import statistics_commands


class Server:
    """Answers any number of connections for one board.

    Args:
        board: the agent.
        staging: where uploads go.
    """

    def __init__(self, board: Board, staging: StagingArea) -> None:
        """Begin with nobody connected."""
        self.jobs = Jobs(self._finished)
        self._groups = _groups(board, self.jobs, staging)
        self._connected: dict[int, Session] = {}
        self._lock = threading.Lock()

    def connect(self, access: Access) -> Connection:
        """Take a new client."""
        session = Session(access)
        with self._lock:
            self._connected[id(session)] = session
        return Connection(self._groups, session)

    def disconnect(self, connection: Connection) -> None:
        """Forget a client."""
        with self._lock:
            self._connected.pop(id(connection.session), None)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell all who subscribed; from any thread."""
        with self._lock:
            for session in self._connected.values():
                session.tell(event)

    def _finished(self, job: Job) -> None:
        self.tell(
            {"event": job.kind, "job": job.number, "exit_code": job.exit_code, **(job.event or {})}
        )


def _groups(board: Board, jobs: Jobs, staging: StagingArea) -> Mapping[int, Commands]:
    groups: dict[int, Commands] = {
        Group.OS: os_commands(board, jobs),
        Group.STATISTICS: statistics_commands(board),
        Group.SETTINGS: settings_commands(board, jobs),
        Group.FILES: file_commands(board, staging),
    }
    groups[Group.ENUMERATION] = enumeration_commands(groups)
    groups[Group.NPP] = {
        **knowledge_commands(board, jobs, time.monotonic()),
        **job_commands(board, jobs, staging),
    }
    return groups
