"""What `measure` and `calibrate` do to a store, whoever asks for it.

A command prints what these return, and the link sends it; see also `agent.store_tasks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

from agent.listeners import Listeners
from agent.loop import CalibrationRequest
from agent.methods import GRADIENT_METHODS, resolve
from agent.report import calibration_document, measurement_document
from agent.runtimes.base import can_probe
from agent.session import Session, open_session, remember
from agent.store.store import Store

Conditions = Mapping[str, float | None]


@dataclass(frozen=True)
class Measured:
    """A measurement, and the factors it was made with."""

    document: dict[str, Any]
    """What `measure` prints."""

    ranks: Mapping[str, int]
    """Of the layers' surrogates."""


def measure(store: Store, conditions: Conditions, listeners: Listeners) -> Measured:
    """Compare the chip's layers with the references.

    Raises:
        AgentError: nothing is installed, it cannot be loaded, or the runtime fails.
        DeviceModelError: the chip cannot be under these conditions.
    """
    with closing(open_session(store, **conditions)) as session:
        remember(session)
        for sentence in session.warnings:
            listeners.warn(sentence)
        held_back = session.loop.network.references.held_back
        loop = session.watched(listeners.report, held_back).loop
        judged = loop.measure()
        ranks = {layer.name: loop.factors[layer.name].rank for layer in loop.network.layers}
        return Measured(measurement_document(judged, session.drift(judged)), ranks)


def calibrate(
    store: Store, request: CalibrationRequest, conditions: Conditions, listeners: Listeners
) -> dict[str, Any]:
    """Close the loop once; the document of `calibrate`.

    Raises:
        StoreLockedError: another process changes the store.
        AgentError: nothing is installed, it cannot be loaded, or the store refuses.
        CalibError: no sensible factors can be found.
        DeviceModelError: the chip cannot be under these conditions.
    """
    with (
        nullcontext() if request.dry_run else store.lock(),
        closing(open_session(store, **conditions)) as session,
    ):
        for sentence in session.warnings:
            listeners.warn(sentence)
        if not request.dry_run:
            remember(session, locked=True)
        watched = session.watched(listeners.report, _samples_looked_at(session, request))
        done = watched.calibrate(request, lambda forecast: listeners.tell(str(forecast)))
        document = calibration_document(done, session.loop.buffer, session.sequence)
        document |= {"dry_run": request.dry_run, "other_bytes_written": 0}
        if not request.dry_run:
            recorded = session.record(done)
            for sentence in recorded.warnings:
                listeners.warn(sentence)
            document["other_bytes_written"] = recorded.bytes_written
        return document


def _samples_looked_at(session: Session, request: CalibrationRequest) -> int:
    """Judged twice, predicted, planned, fitted, matched once; about right is right enough."""
    network = session.loop.network
    references = network.references
    fit = references.count - references.held_back
    chosen = fit if request.select == "all" else min(request.samples, fit)
    method = resolve(request.method, session.loop.runtime, network)
    if not network.has_samples:
        return 2 * references.held_back + fit
    planned = fit if can_probe(session.loop.runtime) else chosen
    fitted = chosen * len(session.loop.network.layers) if method == "sequential" else 0
    trained = fit if method in GRADIENT_METHODS else 0
    return 2 * references.held_back + fit + planned + fitted + chosen + trained
