"""One chip over all its ages: a pure function of what all chips share, and of which chip it is.

Everything random is drawn from the network's seed, the chip's seed and the number of the age;
nothing from the worker, the time, or what was computed before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.buffer import SampleBuffer
from agent.evaluation import Score, compare
from agent.loop import Calibration, CalibrationRequest, ClosedLoop, Commit
from agent.measurement import candidates
from agent.runtimes.open import runtime_of
from agent.session import with_memory
from agent.simulation.plan import EACH, ONCE, Plan, Task
from agent.simulation.workload import Comparison, Workload
from agent.store.bundle import open_bundle
from agent.store.package import Package, read_package
from calib.errors import CalibError
from calib.factors import Factors, no_factors
from calib.references import fit_indices
from calib.sensitivity import Sensitivity
from calib.verify import Judgement
from device_models.array import Chip, State
from device_models.toml_file import load_device

FACTORS = ("uncorrected", "once", "before", "after")
"""None; those of the first age ever since; those that ran until then; those that run from then."""


@dataclass(frozen=True)
class Workshop:
    """A workload, opened: what a worker keeps from one chip to the next."""

    plan: Plan
    package: Package
    comparison: Comparison

    @classmethod
    def of(cls, workload: Workload) -> Workshop:
        """Open the bundle.

        Raises:
            BundleError: it is damaged.
        """
        package = with_memory(read_package(open_bundle(workload.bundle)))
        return cls(workload.plan, package, workload.comparison)


@dataclass(frozen=True)
class _InMemory:
    """Where accepted factors go: nowhere but to the chip."""

    def commit(self, payload: bytes) -> Commit:
        """See `agent.loop.FactorStore`."""
        return Commit(1, len(payload))


@dataclass(frozen=True)
class _Outcome:
    """What a calibration came to, or how the chip was found where there was none."""

    document: dict[str, Any] | None
    factors: Factors
    before: Judgement
    after: Judgement
    sensitivity: Sensitivity


def chip_life(workshop: Workshop, task: Task) -> dict[str, Any]:
    """Let one chip get older, calibrate it when the plan says so, and see how it answers.

    Args:
        workshop: what all chips share; it is the same afterwards.
        task: which chip.

    Returns:
        `group`, `seed` and `ages`; of each age its seconds, the scores under `FACTORS`, the
        calibration (None: there was none) and the layers' errors before and after; plain numbers,
        lists and dictionaries that JSON holds.

    Raises:
        AgentError: the calibration that was asked for is not possible with this bundle.
        DeviceModelError: the chip's model cannot run this network.
    """
    plan, network = workshop.plan, workshop.package.network
    chip = Chip(load_device(plan.devices[task.group]), task.seed)
    nothing = no_factors(network.layers)
    factors, once, buffer = nothing, nothing, SampleBuffer()
    ages = []
    for index, age_s in enumerate(plan.ages_s):
        generator = np.random.default_rng([network.seed, task.seed, index])
        state = State(age_s, plan.temperature_c, plan.supply_v)
        noise = generator.spawn(1)[0]
        runtime = runtime_of(workshop.package, chip, state, noise, fast=plan.fast)
        loop = ClosedLoop(network, runtime, factors, buffer, lambda age_s=age_s: age_s, generator)  # type: ignore[misc]  # a lambda's default has no annotation
        outcome = _cared_for(loop, plan, first=index == 0)
        once = outcome.factors if index == 0 else once
        variants = dict(
            zip(FACTORS, (nothing, once, factors, outcome.factors), strict=True),
        )
        scores = _scores(workshop, loop, variants)
        ages.append({"age_s": age_s, **scores, **_figures(outcome)})
        factors = outcome.factors
    return {"group": task.group, "seed": task.seed, "ages": ages}


def _cared_for(loop: ClosedLoop, plan: Plan, *, first: bool) -> _Outcome:
    """Calibrate the chip if it is time to, else only look at it."""
    if plan.recalibrate == EACH or (plan.recalibrate == ONCE and first):
        factors = loop.factors
        try:
            request = CalibrationRequest(plan.samples, plan.select, plan.method)
            return _calibrated(loop, loop.calibrate(request, _InMemory()))
        except CalibError as error:  # no sensible factors can be found: a chip as bad as that
            loop.factors = factors
            return _looked_at(loop, {"accepted": False, "reason": str(error), "held_back": None})
    return _looked_at(loop, None)


def _calibrated(loop: ClosedLoop, calibration: Calibration) -> _Outcome:
    verdict = calibration.verdict
    document = {
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "held_back": {"before": number(verdict.before.loss), "after": number(verdict.after.loss)},
    }
    after = verdict.after if verdict.accepted else verdict.before
    return _Outcome(document, loop.factors, verdict.before, after, calibration.sensitivity)


def _looked_at(loop: ClosedLoop, document: dict[str, Any] | None) -> _Outcome:
    found = loop.measure()
    indices = fit_indices(loop.network.references)
    known = candidates(loop.runtime, loop.network, loop.factors, indices)
    return _Outcome(document, loop.factors, found, found, known.sensitivity)


def _scores(
    workshop: Workshop, loop: ClosedLoop, variants: Mapping[str, Factors]
) -> dict[str, dict[str, float | None]]:
    """The score of each variant; factors that stand under several names run once."""
    name_of: dict[int, str] = {}
    for name, factors in variants.items():
        name_of.setdefault(id(factors), name)
    distinct = {name_of[id(factors)]: factors for factors in variants.values()}
    comparison = workshop.comparison
    found = compare(loop.runtime, distinct, comparison.batches(), classes=comparison.classes)
    return {name: _plain(found[name_of[id(factors)]]) for name, factors in variants.items()}


def _plain(score: Score) -> dict[str, float | None]:
    return {name: number(value) for name, value in asdict(score).items()}


def _figures(outcome: _Outcome) -> dict[str, Any]:
    shares = _shares(outcome.sensitivity)
    before, after = outcome.before, outcome.after
    return {
        "calibration": outcome.document,
        "mean_error": {"before": number(before.mean_error), "after": number(after.mean_error)},
        "layers": [
            {
                "name": name,
                "error_before": number(error.relative_error),
                "error_after": number(after.errors[name].relative_error),
                "share": shares.get(name),
            }
            for name, error in before.errors.items()
        ],
    }


def _shares(sensitivity: Sensitivity) -> dict[str, float | None]:
    """By layer: its part of what the layers' errors are predicted to do to the margins.

    The mean over samples of |Δm| that this layer alone would bring, over the sum of these; empty
    where there are no samples.
    """
    means = {
        name: float(np.abs(share).mean(dtype=np.float64))
        for name, share in sensitivity.shares.items()
        if len(share)
    }
    total = sum(means.values())
    return {name: number(mean / total) if total > 0 else None for name, mean in means.items()}


def number(value: float | None) -> float | None:
    """A plain finite number, else None."""
    return float(value) if value is not None and math.isfinite(value) else None
