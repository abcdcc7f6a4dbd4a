"""The closed loop. Read this file first.

    sample → runtime.run → trace → layer errors → sensitivity → buffer → plan → forecast → solve
    → verify → commit → activate → report

Each step takes and returns a frozen value; the loop alone holds state: the buffer and the active
factors. Verify, then commit, then activate, then report: a calibration that is refused or fails
leaves the old factors running, and a lost report loses nothing.

What only a calibration needs is imported when there is one: a service may answer for months first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.buffer import BufferedSample, Origin, SampleBuffer
from agent.measurement import candidates, judge_chip
from agent.runtimes.base import Runtime
from calib.budget import Budget
from calib.factor_codes import encode_factors
from calib.factors import Factors
from calib.packed import PackedNetwork
from calib.references import fit_indices
from calib.verify import Judgement, Verdict, judge, refused

if TYPE_CHECKING:
    from calib.candidates import Candidates
    from calib.costs import Spending
    from calib.forecast import Forecast
    from calib.layer_fit import Plan
    from calib.selection import Chosen
    from calib.sensitivity import Sensitivity

NO_BUDGET = Budget()


@dataclass(frozen=True)
class CalibrationRequest:
    """What the user of `calibrate` chooses."""

    samples: int = 32
    select: str = "sensitivity"
    method: str = "auto"
    budget: Budget = NO_BUDGET
    """Of the factors; where it has no limit, that of the bundle holds."""

    dry_run: bool = False


Tell = Callable[["Forecast"], None]


@dataclass(frozen=True)
class Commit:
    """What the store says of factors it has made durable."""

    sequence: int
    bytes_written: int


class FactorStore(Protocol):
    """Where accepted factors go."""

    def commit(self, payload: bytes) -> Commit:
        """Make factors durable; only then are they activated."""
        ...


@dataclass(frozen=True)
class Calibration:
    """The report of one calibration."""

    verdict: Verdict
    method: str
    chosen: tuple[Chosen, ...]
    sensitivity: Sensitivity
    forecast: Forecast
    """What could be reached, told before anything was solved."""

    factors: Factors
    """The candidate, active only if it was accepted and not a dry run; the active factors where
    nothing promised to be gained."""

    spending: Spending
    """What the factors take of the budget."""

    commit: Commit | None
    seconds: float
    noted_bytes: tuple[int, ...] = ()
    """Sizes of what was written besides the factors, where somebody kept it."""


@dataclass
class ClosedLoop:
    """One chip under the agent's care."""

    network: PackedNetwork
    runtime: Runtime
    factors: Factors
    buffer: SampleBuffer
    clock: Callable[[], float]
    """Seconds; only differences and order matter."""

    generator: np.random.Generator | Callable[[], np.random.Generator]
    """What draws samples, or what makes that once it is needed."""

    def measure(self) -> Judgement:
        """How the chip does now, on samples that no fit has seen."""
        return judge_chip(self.runtime, self.network, self.factors)

    def calibrate(
        self, request: CalibrationRequest, store: FactorStore, tell: Tell = lambda _: None
    ) -> Calibration:
        """Close the loop once.

        Args:
            request: what the user chooses.
            store: where accepted factors go.
            tell: is told what can be reached, before it is tried.
        """
        from agent.methods import resolve  # noqa: PLC0415 - see above
        from agent.timed_planning import check_can_time  # noqa: PLC0415
        from calib.forecast import forecast  # noqa: PLC0415

        started_s = self.clock()
        method = resolve(request.method, self.runtime, self.network)
        check_can_time(self.runtime, self._budget(request))
        before = self.measure()
        known = self._fill_buffer(request)
        chosen = self._choose(request, known)
        plan, slowdown = self._plan(request, chosen)
        outlook = forecast(plan, self.factors)
        tell(outlook)
        if outlook.promising:
            candidate = self._solve(method, chosen, plan)
            verdict = self._verify(before, candidate)
        else:
            candidate, verdict = self.factors, refused(before, outlook.why_not)
        commit = None
        if verdict.accepted and not request.dry_run:
            commit = store.commit(self._encoded(candidate))
            self.factors = candidate
        return Calibration(
            verdict=verdict,
            method=method,
            chosen=chosen,
            sensitivity=known.sensitivity,
            forecast=outlook,
            factors=candidate,
            spending=self._spending(request, candidate, slowdown),
            commit=commit,
            seconds=self.clock() - started_s,
        )

    def _fill_buffer(self, request: CalibrationRequest) -> Candidates:
        from calib.selection import rule_named  # noqa: PLC0415 - see above

        found = candidates(
            self.runtime,
            self.network,
            self.factors,
            fit_indices(self.network.references),
            with_answers=rule_named(request.select).needs_answers,
        )
        now_s = self.clock()
        self.buffer.offer(
            BufferedSample(Origin.REFERENCE, int(index), float(rise), now_s)
            for index, rise in zip(found.indices, found.rises, strict=True)
        )
        return found

    def _choose(self, request: CalibrationRequest, known: Candidates) -> tuple[Chosen, ...]:
        from calib.selection import first_draws, select  # noqa: PLC0415 - see above

        if not self.network.has_samples:
            return first_draws(
                request.select, fit_indices(self.network.references), request.samples
            )
        held = [sample.index for sample in self.buffer.samples if sample.origin is Origin.REFERENCE]
        usable = known.of(np.array(held, np.intp))
        made = self.generator() if callable(self.generator) else self.generator
        return select(request.select, usable, request.samples, made)

    def _plan(
        self, request: CalibrationRequest, chosen: tuple[Chosen, ...]
    ) -> tuple[Plan, float | None]:
        """What the budget buys, and the slowdown by it where time is limited."""
        from agent.gathering import planned  # noqa: PLC0415 - see above
        from agent.timed_planning import within_time  # noqa: PLC0415

        budget = self._budget(request)
        plan = planned(self.runtime, self.network, _indices(chosen), budget)
        return within_time(self.runtime, self.network, plan, budget)

    def _budget(self, request: CalibrationRequest) -> Budget:
        return request.budget.over(self.network.budget)

    def _solve(self, method: str, chosen: tuple[Chosen, ...], plan: Plan) -> Factors:
        from agent.methods import fit  # noqa: PLC0415 - see above

        return fit(method, self.runtime, self.network, _indices(chosen), plan)

    def _verify(self, before: Judgement, candidate: Factors) -> Verdict:
        return judge(before, judge_chip(self.runtime, self.network, candidate))

    def _encoded(self, factors: Factors) -> bytes:
        return encode_factors(factors, self.network.layers)

    def _spending(
        self, request: CalibrationRequest, factors: Factors, slowdown: float | None
    ) -> Spending:
        from calib.costs import spending  # noqa: PLC0415 - see above

        layers, budget = self.network.layers, self._budget(request)
        bits = {layer.name: factors[layer.name].bits for layer in layers}
        used = spending(budget, layers, bits)
        if budget.slowdown is None:
            return used
        return replace(used, slowdown=slowdown, slowdown_allowed=budget.slowdown)


def _indices(chosen: tuple[Chosen, ...]) -> NDArray[np.intp]:
    return np.array(sorted(one.index for one in chosen), np.intp)
