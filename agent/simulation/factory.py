"""The simulation from its options to its results. Read this file first.

    bundle, data, float network → workload → journal → engine → records → summary

The engine decides where chips are simulated, and never what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import AgentError, InputError, SimulationInterruptedError
from agent.runtimes.names import CIM
from agent.simulation.engine import Engine, GivenUp, Tell
from agent.simulation.journal import Journal
from agent.simulation.plan import Lot
from agent.simulation.summary import group_summary
from agent.simulation.verdicts import Measure
from agent.simulation.workload import Workload
from agent.store.package import Package
from calib.schemes.weights import FLOAT, SCHEMES
from device_models.parameters import Value


@dataclass(frozen=True)
class Subject:
    """What is simulated, in words for the summary."""

    model: str
    scheme: str
    chip: str
    parameter: str | None
    """That is swept; None where there is one group."""

    values: tuple[Value, ...]
    """Of the parameter, by group; one None where nothing is swept."""


@dataclass(frozen=True)
class Results:
    """All chips that were asked for."""

    summary: dict[str, Any]
    records: list[dict[str, Any]]
    """As `chip_life` gives them, sorted by group and seed."""

    measure: Measure


def check_simulable(package: Package) -> None:
    """Refuse a bundle that no chip can run: of another runtime, or not quantised yet.

    Raises:
        InputError: so it is.
    """
    if package.runtime != CIM:
        raise InputError(
            f"the bundle of {package.model} is for the runtime {package.runtime}, which is no "
            f"chip that could differ from the next; pack the model with "
            f"--runtime {CIM}"
        )
    if package.network.scheme == FLOAT:
        raise InputError(
            f"the bundle of {package.model} holds float weights, which no chip computes with; pack "
            f"the model with --scheme {', '.join(SCHEMES)}"
        )


def simulate(  # noqa: PLR0913, PLR0917  # what, where, and whom to tell
    workload: Workload,
    lot: Lot,
    subject: Subject,
    limit: float,
    engine: Engine,
    out: Path | None,
    *,
    report: Callable[[int, int], None] = lambda _done, _of: None,
    tell: Tell = lambda _sentence: None,
) -> Results:
    """Simulate all chips that are not in the journal yet, and sum up all that were asked for.

    Args:
        workload: what chips have in common.
        lot: which chips.
        subject: what it is, in words.
        limit: recovery of a good chip, at least.
        engine: where chips are simulated.
        out: a folder for the journal, locked by the caller; None keeps nothing.
        report: is told how many chips are done, and of how many.
        tell: is told of lost workers and chips.

    Raises:
        AgentError: the journal is another run's, a worker or a chip failed, or none was finished.
        SimulationInterruptedError: the user interrupted; what is finished is kept.
    """
    tasks = lot.tasks()
    journal = Journal.open(out, workload.plan)
    waiting = [task for task in tasks if task not in journal.records]
    done = len(tasks) - len(waiting)
    if done:
        tell(f"{done} of {len(tasks)} chips were finished before")
    failed: list[GivenUp] = []
    try:
        report(done, len(tasks))
        for outcome in engine(workload, waiting, tell) if waiting else ():
            if isinstance(outcome, GivenUp):
                tell(f"chip {outcome.task.seed} is given up: {outcome.reason}")
                failed.append(outcome)
            else:
                journal.add(outcome.record)
            done += 1
            report(done, len(tasks))
    except KeyboardInterrupt as stopped:
        kept = sum(task in journal.records for task in tasks)
        raise SimulationInterruptedError(_how_to_go_on(kept, len(tasks), out)) from stopped
    records = [journal.records[task] for task in tasks if task in journal.records]
    return _results(workload, lot, subject, limit, records, failed)


def _how_to_go_on(done: int, of: int, out: Path | None) -> str:
    kept = (
        "nothing is kept without --out DIR"
        if out is None
        else f"they are kept in {out}: run the same command again to go on"
    )
    return f"interrupted after {done} of {of} chips; {kept}"


def _results(  # noqa: PLR0913, PLR0917  # all that the summary tells
    workload: Workload,
    lot: Lot,
    subject: Subject,
    limit: float,
    records: list[dict[str, Any]],
    failed: list[GivenUp],
) -> Results:
    plan, comparison = workload.plan, workload.comparison
    measure = Measure.of(comparison.float_accuracy, limit, classes=comparison.classes)
    groups = []
    for group, value in enumerate(subject.values):
        ours: list[Mapping[str, Any]] = [r for r in records if r["group"] == group]
        if not ours:
            raise AgentError(
                f"not one chip of group {group + 1} was finished: each killed its worker; there "
                "may be too little memory"
            )
        groups.append({"value": value, **group_summary(ours, measure)})
    summary = {
        "model": subject.model,
        "scheme": subject.scheme,
        "bundle_id": plan.bundle_id,
        "chip": subject.chip,
        "chips": lot.chips,
        "first_seed": lot.first_seed,
        "samples": len(comparison.x),
        "measure": measure.name,
        "float": measure.float_accuracy,
        "limit": limit,
        "recalibrate": plan.recalibrate,
        "temperature_c": plan.temperature_c,
        "supply_v": plan.supply_v,
        "ages_s": list(plan.ages_s),
        "sweep": subject.parameter,
        "groups": groups,
        "failed": [
            {"group": one.task.group, "seed": one.task.seed, "reason": one.reason}
            for one in sorted(failed, key=lambda one: one.task)
        ],
    }
    return Results(summary, records, measure)
