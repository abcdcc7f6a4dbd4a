"""The board as a store: every command reads it anew, so that whatever changes it is seen.

A running agent follows its store by itself; what is done here is done to both.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent import store_tasks, tasks
from agent.activation import activate
from agent.errors import BundleError, InputError
from agent.link.board import Activate, Calibrate, Facts, LayerRow, Outcome, Readable, Report, Say
from agent.link.store_files import store_file
from agent.link.store_knowledge import (
    KnownBundles,
    Measurement,
    facts_of_store,
    layer_rows,
    signature,
    statistics_of,
)
from agent.link.store_settings import WRITABLE, change, settings_of
from agent.listeners import Listeners
from agent.loop import CalibrationRequest
from agent.methods import METHODS
from agent.status_report import describe
from agent.store.bundle import Bundle
from agent.store.store import Store
from calib.budget import Budget
from calib.selection import RULES

REFUSED = 3
ALARMS = ("drifted", "failed")


def _nothing() -> None:
    """There is no service around the store to begin anew."""


@dataclass
class StoreBoard:
    """A store, as the link sees it.

    Args:
        store: where something is installed, or will be.
        allow_unsigned: install bundles over the link that nobody signed.
        restart: what a reset does.
    """

    store: Store
    allow_unsigned: bool = False
    restart: Callable[[], object] = _nothing
    changed: Callable[[], object] = _nothing
    """Called when something in the store has changed; a running agent takes it over."""

    answers: Callable[[], int] = lambda: 0
    """How many inputs were answered so far."""

    configured: Callable[[], Mapping[str, str]] = dict
    """More settings, which can be read."""

    _measured: Measurement | None = None
    _baselines: Mapping[str, float] = field(default_factory=dict)
    _facts: tuple[object, Facts] | None = None
    """What was read, and what the store's files looked like then."""

    _known: KnownBundles = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def facts(self) -> Facts:
        """See `Board`."""
        with self._lock:
            now = signature(self.store)
            if self._facts is None or self._facts[0] != now:
                self._facts = (now, facts_of_store(self.store, self._measured, self._known))
            return self._facts[1]

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        """See `Board`."""
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counted = {"answers": self.answers(), "memory_kib": peak_kib}
        return statistics_of(self.facts(), self.layers(), counted)

    def layers(self) -> Sequence[LayerRow]:
        """See `Board`."""
        measured = self._measured
        return () if measured is None else layer_rows(measured, self._baselines)

    def status(self) -> Mapping[str, Any]:
        """See `Board`."""
        return describe(self.store)

    def history(self, last: int | None) -> Mapping[str, Any]:
        """See `Board`."""
        return store_tasks.history(self.store, last)

    def settings(self) -> Mapping[str, str]:
        """See `Board`."""
        return {**settings_of(self.store), **self.configured()}

    def writable_settings(self) -> Sequence[str]:
        """See `Board`."""
        return WRITABLE

    def change_setting(self, name: str, value: str) -> None:
        """See `Board`."""
        change(self.store, name, value)
        self._has_changed()

    def file(self, name: str) -> Readable | None:
        """See `Board`."""
        return store_file(self.store, name)

    def measure(self, conditions: Mapping[str, float | None], report: Report, say: Say) -> Outcome:
        """See `Board`."""
        measured = tasks.measure(self.store, conditions, Listeners(report, warn=say))
        if any(value is not None for value in conditions.values()):
            self._has_changed()
        return Outcome(measured.document, event=self.saw(measured))

    def saw(self, measured: tasks.Measured) -> Mapping[str, Any]:
        """Take a measurement; returns what subscribers are to be told of it."""
        before = self._measured
        self._measured = Measurement.of(measured, time.time())
        self._forget()
        drift = measured.document["drift"]
        is_news = drift["state"] in ALARMS and (before is None or before.state != drift["state"])
        return {"event": "drift", **drift} if is_news else {}

    def calibrate(self, request: Calibrate, report: Report, say: Say) -> Outcome:
        """See `Board`."""
        listeners = Listeners(report, say, say)
        wanted = _request(request)
        document = tasks.calibrate(self.store, wanted, request.conditions, listeners)
        event = {name: document[name] for name in ("accepted", "sequence", "reason")}
        if document["accepted"] and not request.dry_run:
            self._baselines = {layer["name"]: layer["error_after"] for layer in document["layers"]}
            self.saw(tasks.measure(self.store, {}, Listeners()))
        self._has_changed()
        code = 0 if document["accepted"] else REFUSED
        return Outcome(document, code, event={"event": "calibration", **event})

    def rollback(self, to: int | None) -> Outcome:
        """See `Board`."""
        warnings: list[str] = []
        document = store_tasks.rollback(self.store, to, Listeners(warn=warnings.append))
        self._baselines, self._measured = {}, None
        self._has_changed()
        return Outcome(document, warnings=tuple(warnings), event={"event": "rollback", **document})

    def activate(self, request: Activate, report: Report, say: Say) -> Outcome:
        """See `Board`."""
        listeners = Listeners(report, say, say)
        document = activate(self.store, request.data, request.name, self._admit, listeners)
        self._baselines, self._measured = {}, None
        self._has_changed()
        event = {"event": "installation", "model": document["model"]}
        return Outcome(document, event=event)

    def reset(self) -> None:
        """See `Board`."""
        self._measured = None
        self._forget()
        self.restart()

    def _admit(self, bundle: Bundle) -> None:
        """Refuse what nobody vouches for: installing checks a signature where a key is known."""
        if self.allow_unsigned or self.store.state().trust is not None:
            return
        raise BundleError(
            f"{bundle.name} was not installed: this board knows no key, so that it cannot tell who "
            "made a bundle, and over a link it takes only what a known key has signed; install one "
            "there with --trust, or start the agent with --allow-unsigned"
        )

    def _has_changed(self) -> None:
        self._forget()
        self.changed()

    def _forget(self) -> None:
        with self._lock:
            self._facts = None


def _request(asked: Calibrate) -> CalibrationRequest:
    """What a client asked for, with the defaults of `calibrate`.

    Raises:
        InputError: there is no such rule or method.
    """
    select, method = asked.select or "sensitivity", asked.method or "auto"
    if select not in RULES:
        raise InputError(f"there is no rule {select!r}; choose {', '.join(RULES)}")
    if method not in ("auto", *METHODS):
        raise InputError(f"there is no method {method!r}; choose auto, {', '.join(METHODS)}")
    budget = Budget(asked.rank, asked.budget_bytes, asked.budget_mac_share, asked.budget_slowdown)
    return CalibrationRequest(asked.samples or 32, select, method, budget, asked.dry_run)
