"""What a store and the last measurement tell in few words and whole numbers."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent import __version__, tasks
from agent.errors import AgentError
from agent.events import CALIBRATION, ROLLBACK
from agent.link.board import Facts, LayerRow
from agent.status_report import BundleFacts, facts_of
from agent.store.store import Store

KnownBundles = dict[str, BundleFacts]
"""By id: opening one again only to say its name would take long."""

STATES = ("unknown", "healthy", "watch", "drifted", "failed")
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Measurement:
    """A measurement, as the link tells it."""

    layers: tuple[LayerRow, ...]
    state: str
    score: float | None
    mean_error: float
    time_s: float

    @classmethod
    def of(cls, measured: tasks.Measured, time_s: float) -> Measurement:
        """What `measure` found, at that Unix time."""
        rows = tuple(
            LayerRow(
                name=layer["name"],
                error=float(layer["relative_error"]),
                sqnr_db=float(layer["sqnr_db"]),
                rank=measured.ranks[layer["name"]],
                baseline=None,
            )
            for layer in measured.document["layers"]
        )
        drift, mean = measured.document["drift"], measured.document["mean_relative_error"]
        return cls(rows, drift["state"], drift["score"], float(mean), time_s)


def layer_rows(measured: Measurement, baselines: Mapping[str, float]) -> Sequence[LayerRow]:
    """The layers, with what each was just after the calibration, where that is known."""
    return [replace(row, baseline=baselines.get(row.name)) for row in measured.layers]


def signature(store: Store) -> object:
    """What tells, in little time, whether a store is as it was."""
    try:
        with os.scandir(store.path) as entries:
            found = [(one.name, one.stat(follow_symlinks=False)) for one in entries]
    except OSError:  # an image or a device, which may be written without a sign
        return int(time.monotonic())
    return sorted((name, facts.st_size, facts.st_mtime_ns) for name, facts in found)


def facts_of_store(store: Store, measured: Measurement | None, known: KnownBundles) -> Facts:
    """The facts; of an empty store, too.

    Args:
        store: where.
        measured: the last measurement.
        known: what the installed bundle was found to say; kept for the next call.

    Raises:
        StoreError: the store cannot be read.
    """
    entries = store.read_history().entries
    calibrations = [entry for entry in entries if entry.get("event") == CALIBRATION]
    last = calibrations[-1] if calibrations else {}
    installed = _installed(store, known)
    return Facts(
        agent=__version__,
        model=installed.get("model"),
        scheme=installed.get("scheme"),
        runtime=installed.get("runtime"),
        chip=installed.get("chip"),
        factors=installed.get("factors", 0),
        state=STATES[0] if measured is None else measured.state,
        score=None if measured is None else _finite(measured.score),
        mean_error=None if measured is None else _finite(measured.mean_error),
        measured_s=None if measured is None else measured.time_s,
        calibrated_s=last.get("time_s"),
        accepted=last.get("accepted"),
        temperature_c=installed.get("temperature_c"),
        written_bytes=sum(_whole(entry.get("bytes_written")) for entry in calibrations),
        calibrations=len(calibrations),
        rollbacks=sum(entry.get("event") == ROLLBACK for entry in entries),
    )


def _installed(store: Store, known: KnownBundles) -> dict[str, Any]:
    """What is installed, in a few words; empty where nothing is, or where it cannot be read."""
    try:
        state = store.state()
        if state.bundle_id not in known:
            known.clear()
            known[state.bundle_id] = facts_of(store.bundle())
        facts = known[state.bundle_id]
        numbers = store.factor_slots().available()
    except AgentError:  # `status` says what is wrong
        return {}
    return {
        "model": facts.model,
        "scheme": facts.scheme,
        "runtime": facts.runtime,
        "chip": str(state.chip.get("name", "")),
        "factors": numbers[0] if numbers else 0,
        "temperature_c": state.remembered.get("temperature_c"),
    }


def statistics_of(
    facts: Facts, layers: Sequence[LayerRow], counted: Mapping[str, int]
) -> Mapping[str, Mapping[str, int]]:
    """Whole numbers: errors in parts per million, SQNR in thousandths of a decibel."""
    whole = {
        "sequence": facts.factors,
        "state": STATES.index(facts.state),
        "error_ppm": _scaled(facts.mean_error, 1e6),
        "score_ppm": _scaled(facts.score, 1e6),
        "calibrations": facts.calibrations,
        "rollbacks": facts.rollbacks,
        "written_bytes": facts.written_bytes,
        **counted,
    }
    groups = {"npp": whole}
    for row in layers:
        groups[row.name] = {
            "error_ppm": _scaled(row.error, 1e6),
            "sqnr_mdb": _scaled(row.sqnr_db, 1e3),
            "rank": row.rank,
        }
    return groups


def _scaled(value: float | None, scale: float) -> int:
    """A whole number that every client can hold; -1 where there is none."""
    if value is None or math.isnan(value):
        return -1
    return int(min(max(value * scale, -_LARGEST), _LARGEST))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _whole(value: object) -> int:
    return value if type(value) is int else 0
