"""From a store to a closed loop: what the commands and the service start with.

A session is the installed bundle on the store's chip, in the state that the store remembers, with
the active factors and the sample buffer. Who changes the store locks it first.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent.allocator import keep_freed_memory
from agent.buffer import SampleBuffer
from agent.chip import emulated_chip
from agent.conditions import changed, check_given, named, remembered_conditions
from agent.drift import Drift, baseline_of, drift
from agent.errors import StoreError
from agent.events import CALIBRATION, record
from agent.loop import Calibration, CalibrationRequest, ClosedLoop, Commit, Tell
from agent.report import history_fields
from agent.runtimes.open import runtime_of
from agent.store.bundle import Bundle
from agent.store.package import Package, read_package
from agent.store.state import State as InstalledState
from agent.store.store import Store
from agent.watched import WatchedReferences
from calib.errors import CalibError
from calib.factor_codes import decode_factors
from calib.factors import Factors, no_factors
from calib.packed import PackedNetwork
from calib.remembered_references import remembering
from calib.verify import Judgement
from device_models.array import State, cautions


@dataclass(frozen=True)
class StoreCommitter:
    """Makes factors durable in a store."""

    store: Store

    def commit(self, payload: bytes) -> Commit:
        """See `agent.loop.FactorStore`."""
        done = self.store.commit_factors(payload)
        return Commit(done.sequence, done.bytes_written)


@dataclass(frozen=True)
class Recorded:
    """What was written besides the factors."""

    sizes: tuple[int, ...]
    """Of the sample buffer and the line in the history, where they could be kept."""

    warnings: tuple[str, ...]

    @property
    def bytes_written(self) -> int:
        """All of it."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Session:
    """A store's network on its chip."""

    store: Store
    package: Package
    installed: InstalledState
    """What was installed when the session began."""

    conditions: State
    """The chip's age, temperature and supply."""

    remembered: State
    """Those that the store remembers."""

    sequence: int
    """Of the active factors when the session began; 0 for none."""

    baseline: float | None
    """Mean layer error just after the calibration that made the active factors."""

    loop: ClosedLoop
    warnings: tuple[str, ...]

    @property
    def chip(self) -> Mapping[str, Any]:
        """The chip, as the store describes it."""
        return self.installed.chip

    def drift(self, now: Judgement) -> Drift:
        """How the chip does now, against how it did after its calibration."""
        return drift(now.mean_error, self.baseline, self.package.tolerance)

    def calibrate(self, request: CalibrationRequest, tell: Tell = lambda _: None) -> Calibration:
        """Close the loop once; accepted factors are durable when this returns.

        Args:
            request: what the user chooses.
            tell: is told what can be reached, before it is tried.

        Raises:
            AgentError: the store refuses, or the runtime cannot do what is asked.
            CalibError: no sensible factors can be found.
        """
        keep_freed_memory()
        return self.loop.calibrate(request, StoreCommitter(self.store), tell)

    def record(self, calibration: Calibration) -> Recorded:
        """Keep the buffer and note the calibration; failures are warnings, nothing is undone."""
        warnings: list[str] = []
        sizes: list[int] = []
        try:
            sizes.append(self.store.write_buffer(self.loop.buffer.to_bytes()))
        except StoreError as error:
            warnings.append(f"done, but the sample buffer was not kept: {error}")
        fields = {**history_fields(calibration), **named(self.conditions)}
        noted, warning = record(self.store, CALIBRATION, fields)
        warnings += [] if warning is None else [warning]
        return Recorded((*sizes, noted), tuple(warnings))

    def close(self) -> None:
        """Give back what the runtime holds."""
        self.loop.runtime.close()

    def watched(self, report: Callable[[int, int], None], samples: int) -> Session:
        """The same session, which tells how much of `samples` reference samples it went through."""
        network = self.loop.network
        references = WatchedReferences(network.references, report, samples)
        loop = replace(self.loop, network=replace(network, references=references))
        return replace(self, loop=loop)


def remember(session: Session, *, locked: bool = False) -> None:
    """Keep the chip's conditions for the next command, if they are new.

    Args:
        session: whose conditions.
        locked: the caller holds the store's lock; else it is taken here.

    Raises:
        StoreError: another holds the store, or it cannot be written.
    """
    if session.conditions == session.remembered:
        return
    values = named(session.conditions)
    with contextlib.nullcontext() if locked else session.store.lock():
        session.store.remember(values)


def open_session(store: Store, **given: float | None) -> Session:
    """Load the installed bundle and everything that belongs to it; writes nothing.

    Args:
        store: where.
        given: conditions of the chip by name, see `State`; what is not given, or None, is as the
            store remembers.

    Raises:
        AgentError: nothing is installed, or it cannot be loaded; the sentence says what to do.
        DeviceModelError: the chip's description is no longer known, or the conditions cannot be.
    """
    state, bundle = _installed(store)
    package = with_memory(read_package(bundle))
    del bundle  # nothing of it is needed any more, and runtimes need memory
    check_given(given, package.runtime)
    history = store.read_history().entries
    remembered = remembered_conditions(state.remembered)
    conditions = changed(remembered, given)
    chip = emulated_chip(state.chip, package.runtime)
    sequence, factors, factor_warning = active_factors(store, package.network)
    buffer, buffer_warning = stored_buffer(store)
    # The same store gives the same result, and the next calibration draws anew.
    seeds = [package.network.seed, len(history)]
    generator = functools.cache(lambda: np.random.default_rng(seeds))  # seldom needed, and large
    loop = ClosedLoop(
        network=package.network,
        runtime=runtime_of(
            package, chip, conditions, None if chip is None else generator().spawn(1)[0]
        ),
        factors=factors,
        buffer=buffer,
        clock=_clock(),
        generator=generator,
    )
    return Session(
        store=store,
        package=package,
        installed=state,
        conditions=conditions,
        remembered=remembered,
        sequence=sequence,
        baseline=baseline_of(history, sequence),
        loop=loop,
        warnings=(
            *(warning for warning in (factor_warning, buffer_warning) if warning is not None),
            *(() if chip is None else cautions(chip, conditions)),
        ),
    )


def _installed(store: Store) -> tuple[InstalledState, Bundle]:
    """State and bundle that belong together, whoever installs meanwhile."""
    state, bundle = store.state(), store.bundle()
    while state.bundle_id != bundle.id:
        state, bundle = store.state(), store.bundle()
    return state, bundle


def with_memory(package: Package) -> Package:
    """The package whose references keep what was computed once."""
    network = package.network
    kept = replace(network, references=remembering(network.references))
    return replace(package, network=kept)


def active_factors(store: Store, network: PackedNetwork) -> tuple[int, Factors, str | None]:
    """Number and factors that run now, and a warning where those in the store cannot.

    Raises:
        StoreError: nothing is installed, or the slots cannot be read.
    """
    stored = store.load_factors()
    if stored is None:
        return 0, no_factors(network.layers), None
    try:
        return stored.sequence, decode_factors(stored.payload, network.layers), None
    except CalibError as error:
        warning = f"factors {stored.sequence} cannot be used, none run: {error}"
        return 0, no_factors(network.layers), warning


def stored_buffer(store: Store) -> tuple[SampleBuffer, str | None]:
    """The sample buffer as the store keeps it, and a warning where that is damaged.

    Raises:
        StoreError: nothing is installed.
    """
    stored = store.read_buffer()
    if stored.payload is None:
        return SampleBuffer(), stored.warning
    try:
        return SampleBuffer.from_bytes(stored.payload), stored.warning
    except StoreError as error:
        return SampleBuffer(), str(error)


def _clock() -> Callable[[], float]:
    """Unix time that no correction of the system's clock moves while we run."""
    start_s = time.time() - time.monotonic()
    return lambda: start_s + time.monotonic()
