"""What `status` reports of a store, and what every bundle says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.errors import BundleError
from agent.events import CALIBRATION, WATCH
from agent.store.bundle import Bundle
from agent.store.status import status_of
from agent.store.store import Store
from calib.schemes.names import CHANNELWISE


@dataclass(frozen=True)
class BundleFacts:
    """What every bundle says of itself."""

    model: str
    scheme: str
    runtime: str
    activation_bits: int
    rank: int
    layers: int


def facts_of(bundle: Bundle) -> BundleFacts:
    """The facts in a bundle's document.

    Raises:
        BundleError: one of them is missing or of another type.
    """
    document = bundle.document
    try:
        facts = BundleFacts(
            model=document["model"]["name"],
            scheme=document["scheme"],
            runtime=document["runtime"],
            activation_bits=document["activation_bits"],
            rank=document["rank"],
            layers=len(document["layers"]),
        )
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"{bundle.name} does not say {error}; it was packed by another version: pack it again"
        ) from error
    return facts


def describe(store: Store) -> dict[str, Any]:
    """The store's state as a document.

    Raises:
        AgentError: nothing is installed, or store or bundle cannot be read.
    """
    found = status_of(store)
    facts = facts_of(store.bundle())
    entries = store.read_history().entries
    calibrations = [entry for entry in entries if entry.get("event") == CALIBRATION]
    return {
        "store": str(found.path),
        "sequence": found.sequence,
        "older": list(found.older),
        "model": facts.model,
        "scheme": facts.scheme,
        "activation_bits": None if facts.scheme == CHANNELWISE else facts.activation_bits,
        "rank": facts.rank,
        "layers": facts.layers,
        "runtime": facts.runtime,
        "bundle_id": found.state.bundle_id,
        "chip": dict(found.state.chip),
        "remembered": dict(found.state.remembered),
        "trust": None if found.state.trust is None else asdict(found.state.trust),
        "last_calibration": dict(calibrations[-1]) if calibrations else None,
        "watch": _watch(entries),
        "bytes_used": found.bytes_used,
        "history_entries": found.history_entries,
        "damaged_history_lines": found.damaged_history_lines,
        "damaged_slots": [
            slot.index for slot in found.slots if slot.header is not None and not slot.whole
        ],
    }


def _watch(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the running service noted last: what has changed, chip or inputs, and why it says so."""
    notes = [entry for entry in entries if entry.get("event") == WATCH]
    names = ("time_s", "sequence", "drift", "changed", "reason")
    return {name: notes[-1].get(name) for name in names} if notes else None
