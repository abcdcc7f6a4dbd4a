"""The project's own methods, through the closed loop as `calibrate` runs it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from agent.buffer import SampleBuffer
from agent.gathering import planned
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.methods import fit
from calib.budget import Budget
from calib.factors import Factors, no_factors
from calib.references import fit_indices
from recovery.outcome import Outcome, Price
from recovery.subject import Subject

RANK_8 = Budget(rank=8)


@dataclass(frozen=True)
class NoStore:
    """Accepts every commit and keeps nothing."""

    def commit(self, payload: bytes) -> Commit:
        """See `agent.loop.FactorStore`."""
        return Commit(1, len(payload))


@dataclass(frozen=True)
class Ours:
    """One way to calibrate; the chip keeps what the loop accepts."""

    method: str
    samples: int
    budget: Budget = RANK_8

    def __call__(self, subject: Subject) -> Outcome:
        """Close the loop once on a chip without factors."""
        loop = ClosedLoop(
            subject.network,
            subject.runtime(),
            no_factors(subject.network.layers),
            SampleBuffer(),
            time.process_time,
            np.random.default_rng(subject.chip),
        )
        request = CalibrationRequest(self.samples, method=self.method, budget=self.budget)
        done = loop.calibrate(request, NoStore())
        used = done.spending if done.verdict.accepted else None
        price = Price(0, 0) if used is None else Price(used.bytes, used.mac_share)
        return Outcome(loop.factors, price, details={"accepted": done.verdict.accepted})


def fit_alone(subject: Subject, way: Ours) -> Factors:
    """The fit with its runs of the chip, without choosing samples and without the verdict."""
    runtime, network = subject.runtime(), subject.network
    chosen = fit_indices(network.references)[: way.samples]
    plan = planned(runtime, network, chosen, way.budget)
    return fit(way.method, runtime, network, chosen, plan)
