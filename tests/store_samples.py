"""Bundles and a store in use, for the tests of the store."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from agent.store.bundle import Bundle, bundle_bytes, open_bundle
from agent.store.store import Store

CHIP = {"preset": "mismatch-10", "seed": 3}


def bundle_named(model: str) -> Bundle:
    weights = np.arange(700, dtype=np.int16)
    return open_bundle(bundle_bytes({"model": model}, {"w": weights}, {}), name=f"{model}.npp")


FIRST, SECOND = bundle_named("first"), bundle_named("second")


def used_store(path: Path) -> Store:
    """A store with everything in it, in a directory, or in an image that is there."""
    store = Store(path)
    with store.lock(create=True):
        fill_store(store)
    return store


def fill_store(store: Store) -> None:
    """Factors 1 and 2, one entry of history, a buffer, an age."""
    store.install(FIRST, CHIP)
    store.commit_factors(b"one")
    store.append_history({"event": "calibrated", "sequence": 1})
    store.commit_factors(b"two")
    store.write_buffer(b"samples")
    store.remember({"age_s": 60.0})


@contextlib.contextmanager
def passing_store() -> Iterator[Store]:
    """A store for one of many runs of a test: FIRST is installed."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.install(FIRST, CHIP)
        yield store
