"""A session that answers: its network with the factors in use, and how these change.

Everything here is called by one thread at a time; only `Serving.infer` is for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.drift import Drift, baseline_of, drift
from agent.errors import RuntimeUnavailableError
from agent.loop import Commit
from agent.serving import Serving, Swap, check_of
from agent.session import Session, active_factors, open_session, remember
from agent.store.store import Store
from calib.factor_codes import decode_factors
from calib.factors import Factors
from calib.verify import Judgement


@dataclass(frozen=True)
class Running:
    """A session, and what answers for it."""

    session: Session
    serving: Serving

    @classmethod
    def of(cls, session: Session) -> Running:
        """Load the session's network with its active factors.

        Raises:
            RuntimeUnavailableError: it cannot be loaded.
        """
        loop = session.loop
        return cls(session, Serving(loop.runtime.loaded, loop.factors, session.sequence))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.session.loop.network.graph.input.shape[1:]

    def with_active(self) -> tuple[Running, Swap, str | None]:
        """The same with the factors that the store says are active, if they can be used.

        Returns:
            What runs from now on, how the swap went, and a warning about the stored factors.

        Raises:
            StoreError: the store cannot be read.
            AgentError: the runtime cannot run them.
        """
        session, loop = self.session, self.session.loop
        sequence, factors, warning = active_factors(session.store, loop.network)
        check = check_of(loop.runtime, loop.network, factors)
        swap = self.serving.swap(factors, sequence, check)
        return (self.now(factors, sequence) if swap.accepted else self), swap, warning

    def now(self, factors: Factors, sequence: int) -> Running:
        """The same after other factors were put into use."""
        session = self.session
        session.loop.factors = factors
        return replace(self, session=replace(session, sequence=sequence, baseline=None))

    def drift(self, judgement: Judgement) -> Drift:
        """How the chip does now, against how it did after its calibration.

        The history is asked when that is not known yet: another process writes it after the
        factors.

        Raises:
            StoreError: the history cannot be read.
        """
        session = self.session
        baseline = session.baseline
        if baseline is None:
            baseline = baseline_of(session.store.read_history().entries, session.sequence)
        return drift(judgement.mean_error, baseline, session.package.tolerance)


@dataclass(frozen=True)
class CheckedCommitter:
    """Makes factors durable only once they stand loaded and checked, and uses them at once."""

    running: Running
    before_commit: Callable[[], None]
    """May still raise; after it, nothing stops the commit."""

    def commit(self, payload: bytes) -> Commit:
        """See `agent.loop.FactorStore`.

        Raises:
            RuntimeUnavailableError: the factors cannot be loaded, or answer wrongly: none are kept.
        """
        session, loop = self.running.session, self.running.session.loop
        factors = decode_factors(payload, loop.network.layers)
        check = check_of(loop.runtime, loop.network, factors)
        prepared = self.running.serving.prepare(factors, check)
        if prepared.answer is None:
            raise RuntimeUnavailableError(f"new factors were not kept: {prepared.problem}")
        self.before_commit()
        done = session.store.commit_factors(payload)
        self.running.serving.use(prepared, done.sequence)
        return Commit(done.sequence, done.bytes_written)


def opened(store: Store, **conditions: float | None) -> Running:
    """What is installed in a store, loaded; conditions that are new are remembered.

    Raises:
        AgentError: nothing is installed, it cannot be loaded, or another changes the store.
        DeviceModelError: the chip's description is not known, or the conditions cannot be.
    """
    session = open_session(store, **conditions)
    try:
        remember(session)
        return Running.of(replace(session, installed=store.state()))
    except BaseException:
        session.close()
        raise


def active_sequence(store: Store) -> int:
    """The number of the factors that are active in a store; 0 for none.

    Raises:
        StoreError: nothing is installed, or the slots cannot be read.
    """
    numbers = store.factor_slots().available()
    return numbers[0] if numbers else 0
