"""The files of a store that can be fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.errors import NoBundleError
from agent.link.board import Readable
from agent.store.sealed import seal
from agent.store.store import Store


def store_file(store: Store, name: str) -> Readable | None:
    """`bundle.npp`, `factors.bin` (the payload of the active factors) or `history.jsonl`.

    Returns:
        The file as it is now; None where there is none.

    Raises:
        AgentError: it cannot be read.
    """
    known: Mapping[str, Callable[[Store], bytes | None]] = {
        "bundle.npp": _bundle,
        "factors.bin": _factors,
        "history.jsonl": _history,
    }
    try:
        data = known[name](store)
    except NoBundleError:
        return None
    if data is None:
        return None
    return Readable(len(data), lambda offset, count: data[offset : offset + count])


def _bundle(store: Store) -> bytes:
    return store.bundle().data


def _factors(store: Store) -> bytes | None:
    stored = store.load_factors()
    return None if stored is None else stored.payload


def _history(store: Store) -> bytes:
    return b"".join(seal(entry) for entry in store.read_history().entries)
