"""Putting a bundle that came from afar into a store: only once it has run on this chip.

The bundle is opened and every part of it checked, its runtime loads it, and its held-back samples
are run on the chip: the canaries. Until all of that is done the old bundle is in use, and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np

from agent.chip import chip_of
from agent.conditions import remembered_conditions
from agent.errors import BundleError
from agent.events import INSTALLATION, record
from agent.installation import install, prepared
from agent.listeners import Listeners
from agent.measurement import judge_chip
from agent.runtimes.base import Runtime
from agent.runtimes.open import runtime_of
from agent.session import with_memory
from agent.store.bundle import Bundle, open_bundle
from agent.store.package import Package
from agent.store.state import State
from agent.store.store import Store
from agent.store.trusted import accepted
from calib.factors import no_factors
from calib.verify import Judgement

Admit = Callable[[Bundle], None]
"""Raises where a bundle may not be installed."""


def activate(
    store: Store, data: bytes, name: str, admit: Admit, listeners: Listeners
) -> dict[str, Any]:
    """Install a bundle in the place of the one that is there, on the same chip.

    Args:
        store: where another bundle is installed.
        data: the file's bytes.
        name: what messages call it.
        admit: asked before anything is computed.
        listeners: who hears of it.

    Raises:
        BundleError: it is damaged, may not be installed, is not signed by the key that the store
            knows, or its canaries fail.
        RuntimeUnavailableError: this machine has no such runtime.
        StoreError: nothing is installed yet, or the store refuses; the old bundle stays.
    """
    state = store.state()
    bundle = open_bundle(data, name=name)
    admit(bundle)
    accepted(bundle, state.trust)
    kept, package = prepared(bundle, None)
    canaries = _canaries(package, state, listeners)
    with store.lock():
        installed = install(store, kept, package, store.state().chip, origin=bundle)
        facts = {
            "model": package.model,
            "scheme": package.network.scheme,
            "runtime": package.runtime,
            "chip": dict(installed.chip),
            "bundle_id": installed.bundle_id,
            "trust": None if installed.trust is None else asdict(installed.trust),
        }
        _, warning = record(store, INSTALLATION, facts)
    if warning is not None:
        listeners.warn(warning)
    return {
        "store": str(store.path),
        **facts,
        "bytes": len(kept.data),
        "canaries": {"mean_relative_error": canaries.mean_error, "loss": canaries.loss},
    }


def _canaries(package: Package, state: State, listeners: Listeners) -> Judgement:
    """Run the held-back samples of a bundle that is not installed yet.

    Raises:
        BundleError: the answers are no numbers.
    """
    watched = with_memory(package)
    conditions = remembered_conditions(state.remembered)
    generator = np.random.default_rng(package.network.seed)
    runtime: Runtime = runtime_of(watched, chip_of(state.chip), conditions, generator)
    listeners.tell("running the new bundle's held-back samples on the chip")
    with closing(runtime):
        network = watched.network
        judged = judge_chip(runtime, network, no_factors(network.layers))
    if not np.isfinite([judged.loss, judged.mean_error]).all():
        raise BundleError(
            f"the bundle of {package.model} was not installed: on this chip its answers are no "
            "numbers; the old bundle runs on"
        )
    return judged
