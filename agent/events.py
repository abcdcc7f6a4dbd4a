"""The events of a store's history: what happened, when, and with which figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from agent.errors import StoreError
from agent.store.store import Store

CALIBRATION = "calibration"
INSTALLATION = "installation"
ROLLBACK = "rollback"
WATCH = "watch"
"""An entry has `event`, `time_s` (Unix) and what its command reports."""


def record(
    store: Store, event: str, fields: Mapping[str, Any], now_s: float | None = None
) -> tuple[int, str | None]:
    """Add an event to the history; what has been done stands even where this fails.

    Args:
        store: locked by the caller.
        event: one of the events above.
        fields: what happened; JSON.
        now_s: Unix time; the system's by default.

    Returns:
        The bytes written, and a warning where the event could not be noted.
    """
    moment_s = time.time() if now_s is None else now_s
    try:
        return store.append_history({"event": event, "time_s": moment_s, **fields}), None
    except StoreError as error:
        return 0, f"done, but not noted in the history: {error}"
