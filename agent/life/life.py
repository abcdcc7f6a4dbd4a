"""A life from its scenario to its records. Read this file first.

    scenario → moments → the chip at each → every carer's visit → accuracy → records → summary

The chip is one and the same for all carers: the same cells, ages and temperatures; only their
factors differ, and where those are equal so are the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.buffer import SampleBuffer
from agent.data_file import Data
from agent.errors import InputError
from agent.evaluation import compare
from agent.installation import install
from agent.life.carers import CARERS, POLICY, Carer, Visit, carer_named
from agent.life.damage import check_columns, dead_at, moved_at, moved_data, with_dead_columns
from agent.life.scenario import MovedInputs, Scenario
from agent.life.ward import Ward
from agent.life.weather import Moment, moments
from agent.loop import ClosedLoop
from agent.runtimes.base import Runtime
from agent.runtimes.open import runtime_of
from agent.session import with_memory
from agent.simulation.chip_life import number
from agent.simulation.verdicts import Measure
from agent.simulation.workload import Comparison, comparison_of
from agent.store.bundle import Bundle
from agent.store.package import Package
from agent.store.store import Store
from agent.watch.inputs import InputProfile, profile_of
from agent.watch.scale import answer_scale
from calib.factors import no_factors
from calib.graph.model import Graph
from calib.references import in_blocks
from device_models.array import Chip

LIVE_SAMPLES = 8
"""Inputs that come in from one moment to the next, as far as they are looked at."""

LIMIT = 0.97
"""Share of the float network's accuracy below which a chip is not good."""


@dataclass(frozen=True)
class Subject:
    """What lives."""

    bundle: Bundle
    package: Package
    chip: Chip
    described: dict[str, Any]
    """The chip as a store describes it."""

    data: Data
    float_graph: Graph | None
    seed: int
    fast: bool


@dataclass
class _World:
    """What all carers share."""

    subject: Subject
    scenario: Scenario
    package: Package
    """With references that remember."""

    comparisons: dict[MovedInputs | None, Comparison]


def live(
    subject: Subject,
    scenario: Scenario,
    folder: Path,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> Iterator[dict[str, Any]]:
    """Let a chip live; yields a record for each moment, which JSON holds.

    Args:
        subject: what lives.
        scenario: what happens to it.
        folder: an empty one, for the carers' stores.
        report: is told how many moments are done, and of how many.

    Raises:
        AgentError: the bundle cannot be calibrated, or the data does not fit.
        DeviceModelError: the chip's model cannot run this network.
    """
    check_columns(subject.package.network, scenario.dead_column)
    world = _World(subject, scenario, with_memory(subject.package), {})
    everything = moments(scenario)
    carers = _carers(world, folder, _runtime(world, everything[0], 0))
    for index, moment in enumerate(everything):
        runtime = _runtime(world, moment, index)
        yield _lived(world, carers, moment, index, runtime)
        runtime.close()
        report(index + 1, len(everything))


def float_data(package: Package) -> Data:
    """The held-back samples as data without labels, for a bundle that came with none.

    Raises:
        InputError: the bundle holds no samples.
    """
    references = package.network.references
    if not package.network.has_samples:
        raise InputError("the bundle holds moments and no samples; give some with --data DATA.npz")
    held = np.arange(references.held_back)
    blocks = in_blocks(references, held, with_rows=False)
    return Data(np.concatenate([block.inputs for block in blocks]), None)


def _carers(world: _World, folder: Path, runtime: Runtime) -> dict[str, Carer]:
    network, profile = world.package.network, _profile(world)
    scale = answer_scale(network)
    found = {}
    for place, name in enumerate(CARERS):
        store = Store(folder / name)
        with store.lock(create=True):
            install(store, world.subject.bundle, world.subject.package, world.subject.described)
        generator = np.random.default_rng([network.seed, world.subject.seed, place])
        loop = ClosedLoop(
            network, runtime, no_factors(network.layers), SampleBuffer(), lambda: 0.0, generator
        )
        found[name] = carer_named(name, Ward(loop, store), world.scenario, profile, scale)
    return found


def _profile(world: _World) -> InputProfile:
    """Of the references' inputs; of the data's where the bundle holds moments."""
    network = world.package.network
    if not network.has_samples:
        return profile_of([world.subject.data.x])
    indices = np.arange(network.references.count)
    return profile_of(
        block.inputs for block in in_blocks(network.references, indices, with_rows=False)
    )


def _runtime(world: _World, moment: Moment, index: int) -> Runtime:
    """The chip at a moment; its read noise depends on the seed and the moment alone."""
    package, subject = world.package, world.subject
    network = with_dead_columns(package.network, dead_at(world.scenario, moment.day))
    noise = np.random.default_rng([package.network.seed, subject.seed, 17, index])
    there = replace(package, network=network)
    return runtime_of(there, subject.chip, moment.state, noise, fast=subject.fast)


def _lived(
    world: _World, carers: dict[str, Carer], moment: Moment, index: int, runtime: Runtime
) -> dict[str, Any]:
    moved = moved_at(world.scenario, moment.day)
    comparison = _comparison(world, moved)
    arriving = np.random.default_rng([world.subject.seed, 23, index])
    some = arriving.integers(len(comparison.x), size=LIVE_SAMPLES)
    samples = comparison.x[some].astype(np.float32)
    before = {name: carer.ward.loop.factors for name, carer in carers.items()}
    visits = {name: _visit(carer, moment, samples, runtime) for name, carer in carers.items()}
    acted = moment.time_s == 0 or visits[POLICY].event is not None
    record: dict[str, Any] = {
        "day": moment.day,
        **asdict(moment.state),
        "moved_inputs": moved is not None,
        "dead_columns": len(dead_at(world.scenario, moment.day)),
        "carers": {name: _plain(visits[name], carers[name]) for name in carers},
    }
    if moment.evaluated or acted:
        after = {name: carer.ward.loop.factors for name, carer in carers.items()}
        record |= _scores(runtime, comparison, before, after)
    return record


def _visit(carer: Carer, moment: Moment, samples: Any, runtime: Runtime) -> Visit:
    carer.ward.loop.runtime = runtime
    carer.ward.loop.clock = lambda: moment.time_s
    return carer.visit(moment, samples)


def _comparison(world: _World, moved: MovedInputs | None) -> Comparison:
    if moved not in world.comparisons:
        subject = world.subject
        data = moved_data(subject.data, moved)
        world.comparisons[moved] = comparison_of(world.package.network, data, subject.float_graph)
    return world.comparisons[moved]


def _scores(runtime: Runtime, comparison: Comparison, before: Any, after: Any) -> dict[str, Any]:
    """Recoveries with the factors that each carer found, and with those that it left."""
    wanted = {(name, "found"): one for name, one in before.items()}
    wanted |= {(name, "left"): one for name, one in after.items()}
    first = {id(one): f"{number}" for number, one in enumerate(wanted.values())}
    distinct = {first[id(one)]: one for one in wanted.values()}
    scores = compare(runtime, distinct, comparison.batches(), classes=comparison.classes)
    measure = Measure.of(comparison.float_accuracy, LIMIT, classes=comparison.classes)
    recovery: dict[str, dict[str, float | None]] = {name: {} for name in before}
    for (name, when), one in wanted.items():
        recovery[name][when] = number(measure.recovery(asdict(scores[first[id(one)]])))
    return {"measure": measure.name, "float": measure.float_accuracy, "recovery": recovery}


def _plain(visit: Visit, carer: Carer) -> dict[str, Any]:
    ward = carer.ward
    found: dict[str, Any] = {
        "event": visit.event,
        "reason": visit.reason,
        "flash_bytes": ward.written.bytes,
        "erases": ward.written.erases,
        "sequence": ward.sequence,
    }
    if visit.state is not None:
        found |= {
            "state": visit.state,
            "changed": visit.changed,
            "alarm": visit.alarm,
            "loss": number(visit.loss),
            "layer_error": number(visit.layer_error),
        }
    return found


__all__ = ["LIMIT", "POLICY", "Subject", "float_data", "live"]
