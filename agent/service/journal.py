"""The service's log: one line for each notice, on stderr, as a journal or a person reads it.

    <6>event=factors factors=3 swap_ms=9.31                                   in systemd's journal
    2026-01-05T12:00:00Z info event=factors factors=3 swap_ms=9.31            elsewhere

Keys and values are those of logfmt: a value with anything but plain characters is in JSON's quotes.
The priority in front is sd-daemon(3)'s, written where $JOURNAL_STREAM names the very stream that
stderr is (systemd.exec(5)).
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from agent.notices import Notice
from agent.service.settings import LEVELS

PRIORITIES = {"debug": 7, "info": 6, "notice": 5, "warning": 4, "error": 3}
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;/+@%()\[\]-]+")


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream leads to systemd's journal."""
    named = environment.get("JOURNAL_STREAM", "")
    try:
        facts = os.fstat(stream.fileno())
    except OSError:  # also where a stream has no descriptor
        return False
    return named == f"{facts.st_dev}:{facts.st_ino}"


class Log:
    """Writes notices, from any thread.

    Args:
        stream: where to.
        level: what is worth less is left out.
        journal: write priorities instead of times and levels.
        clock: Unix time.
    """

    def __init__(
        self,
        stream: TextIO,
        level: str = "info",
        *,
        journal: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Write nothing yet."""
        self.level = level
        self._stream, self._journal, self._clock = stream, journal, clock
        self._one_line = threading.Lock()

    def __call__(self, notice: Notice) -> None:
        """Write a notice, if it is worth it; a stream that is gone is no reason to end."""
        if LEVELS.index(notice.level) < LEVELS.index(self.level):
            return
        line = f"{self._head(notice.level)}{fields_text({'event': notice.event, **notice.fields})}"
        with self._one_line:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return

    def _head(self, level: str) -> str:
        if self._journal:
            return f"<{PRIORITIES[level]}>"
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        return f"{moment} {level} "


def stderr_log(level: str) -> Log:
    """The log of this process."""
    return Log(sys.stderr, level, journal=is_journal(sys.stderr))


def fields_text(fields: Mapping[str, object]) -> str:
    """Fields in logfmt, on one line; what is None is left out."""
    return " ".join(f"{key}={_value(value)}" for key, value in fields.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(str(value).split())
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
