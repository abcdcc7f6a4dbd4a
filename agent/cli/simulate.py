"""`npp-agent simulate`: a whole factory of emulated chips."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path

import click

from agent.allocator import keep_freed_memory
from agent.chip import describe_chip
from agent.cli.common import FILE, emit, json_option
from agent.cli.installed import warn
from agent.cli.progress import progress, say
from agent.cli.simulation_options import SimulationOptions, simulation_options
from agent.cli.simulation_text import report_text
from agent.data_file import Data, read_data
from agent.simulation.ages import parse_ages
from agent.simulation.dask_engine import DaskEngine
from agent.simulation.engine import Engine
from agent.simulation.factory import Subject, check_simulable, simulate
from agent.simulation.local_engine import LocalEngine
from agent.simulation.outputs import prepared, write_outputs
from agent.simulation.plan import Lot, Plan
from agent.simulation.sweep import Sweep, sweep
from agent.simulation.workload import Comparison, Workload, comparison_of
from agent.store.bundle import Bundle, open_bundle
from agent.store.lock import locked
from agent.store.package import Package, read_package
from agent.workstation.simulation_report import report_page
from calib.graph.model import Graph
from device_models.array import Chip, State, cautions
from device_models.toml_file import find_device, to_toml


@click.command()
@click.argument("bundle", metavar="FILE.npp", type=FILE)
@simulation_options
@json_option
def command(
    bundle: Path,
    options: SimulationOptions,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Simulate many chips over their ages: how accurate they are, how many are good, which fail.

    The same bundle, data and options give the same result to the bit, whatever the number of
    workers. With --out it can be interrupted at any time: the same command goes on.
    """
    keep_freed_memory()
    opened = open_bundle(bundle)
    package = read_package(opened)
    check_simulable(package)
    swept = _devices(options)
    workload = _workload(options, opened, package, swept)
    for sentence in _cautions(swept, workload.plan):
        warn(sentence)
    lot = Lot(len(swept.models), options.chips, options.first_seed)
    subject = Subject(
        model=package.model,
        scheme=package.network.scheme,
        chip=str(describe_chip(options.chip, 0)["name"]),
        parameter=swept.parameter or None,
        values=swept.values,
    )
    del package  # the workers open their own
    with contextlib.nullcontext() if options.out is None else locked(prepared(options.out)):
        with progress("simulating") as report:
            results = simulate(
                workload,
                lot,
                subject,
                options.limit,
                _engine(options),
                options.out,
                report=report,
                tell=lambda sentence: say(f"npp-agent: {sentence}"),
            )
        if options.out is not None:
            page = report_page(results)
            write_outputs(options.out, results, page.html)
            if page.warning is not None:
                warn(page.warning)
    emit(results.summary, as_json=as_json, table=report_text(results.summary, options.out))


def _devices(options: SimulationOptions) -> Sweep:
    """The device models; without --sweep one, under no parameter."""
    model = find_device(options.chip)
    if options.sweep is None:
        return Sweep("", (None,), (model,))
    return sweep(model, options.sweep)


def _workload(
    options: SimulationOptions, bundle: Bundle, package: Package, swept: Sweep
) -> Workload:
    ages_s = parse_ages(options.ages)
    comparison = _comparison(options, package)
    plan = Plan(
        bundle_id=bundle.id,
        data_sha256=comparison.sha256(),
        devices=tuple(to_toml(model) for model in swept.models),
        ages_s=ages_s,
        temperature_c=options.temperature_c,
        supply_v=options.supply_v,
        recalibrate=options.recalibrate,
        samples=options.samples,
        select=options.select,
        method=options.method,
        fast=options.fast,
    )
    return Workload(plan, bundle.data, comparison)


def _comparison(options: SimulationOptions, package: Package) -> Comparison:
    data = read_data(options.data, options.key)
    if options.images is not None:
        some = slice(options.images)
        data = Data(data.x[some], None if data.y is None else data.y[some])
    with progress("the float network") as report:
        return comparison_of(package.network, data, _float_graph(options, package), report)


def _float_graph(options: SimulationOptions, package: Package) -> Graph | None:
    if options.float_model is None:
        return package.network.float_graph
    loader = importlib.import_module("calib.importers.load")
    graph: Graph = loader.load_model(options.float_model)
    return graph


def _cautions(swept: Sweep, plan: Plan) -> list[str]:
    """What the device model has no figures for, each sentence once."""
    states = [State(age_s, plan.temperature_c, plan.supply_v) for age_s in plan.ages_s]
    said = (cautions(Chip(model), state) for model in swept.models for state in states)
    return list(dict.fromkeys(sentence for sentences in said for sentence in sentences))


def _engine(options: SimulationOptions) -> Engine:
    if options.scheduler is not None:
        return DaskEngine(options.scheduler)
    return LocalEngine(options.workers or len(os.sched_getaffinity(0)))
