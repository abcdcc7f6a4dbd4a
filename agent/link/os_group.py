"""Group 0: is anybody there, how long may messages be, what is this, begin anew."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Callable, Mapping
from typing import Any

from agent import __version__
from agent.link.board import Board
from agent.link.codes import BUFFER_BYTES, MAX_MESSAGE_BYTES, Code, Op, OsCode
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.jobs import Jobs
from agent.link.refusal import Refusal, busy
from agent.link.session import Session

ECHO, DATE_TIME, RESET, PARAMETERS, INFO = 0, 4, 5, 6, 7


def os_commands(board: Board, jobs: Jobs) -> Commands:
    """What the group answers."""

    def reset(fields: Fields, session: Session) -> Mapping[str, Any]:
        force = fields.maybe_whole("force", 0, 1)
        fields.maybe_whole("boot_mode", 0, 255)
        fields.end()
        session.must_be_allowed("a reset")
        if jobs.running is not None and not force:
            raise busy(f"{jobs.running.kind} runs")
        board.reset()
        return {}

    return {
        (ECHO, Op.WRITE): _echo,
        (ECHO, Op.READ): _echo,
        (DATE_TIME, Op.READ): _date_time,
        (DATE_TIME, Op.WRITE): _set_date_time,
        (RESET, Op.WRITE): reset,
        (PARAMETERS, Op.READ): _parameters,
        (INFO, Op.READ): _info,
    }


def _echo(fields: Fields, _session: Session) -> Mapping[str, Any]:
    text = fields.text("d", MAX_MESSAGE_BYTES)
    fields.end()
    return {"r": text}


def _parameters(fields: Fields, _session: Session) -> Mapping[str, Any]:
    fields.end()
    return {"buf_size": BUFFER_BYTES, "buf_count": 1}


def _date_time(fields: Fields, _session: Session) -> Mapping[str, Any]:
    fields.end()
    return {"datetime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")}


def _set_date_time(_fields: Fields, _session: Session) -> Mapping[str, Any]:
    raise Refusal("the clock is the system's: set it there", Code.NOT_SUPPORTED)


def _info(fields: Fields, _session: Session) -> Mapping[str, Any]:
    wanted = fields.maybe_text("format") or "s"
    fields.end()
    unknown = sorted(set(wanted) - {*_INFO, "a"})
    if unknown:
        raise Refusal(f"no information is named {unknown[0]!r}", own=OsCode.INVALID_FORMAT)
    names = _INFO if "a" in wanted else [name for name in _INFO if name in wanted]
    return {"output": " ".join(_INFO[name]() or "-" for name in names)}


_INFO: Mapping[str, Callable[[], str]] = {
    "s": platform.system,
    "n": platform.node,
    "r": platform.release,
    "v": platform.version,
    "m": platform.machine,
    "p": platform.machine,
    "i": platform.machine,
    "o": lambda: f"npp-agent {__version__}",
}
"""By Zephyr's letters, in the order in which they are told."""
