"""`npp-agent simulate-life`: a year in the life of one emulated chip, in minutes."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from agent.allocator import keep_freed_memory
from agent.chip import describe_chip
from agent.cli.common import FILE, emit, json_option
from agent.cli.installed import warn
from agent.cli.life_text import life_text
from agent.cli.progress import progress
from agent.data_file import Data, read_data
from agent.life.life import Subject, float_data, live
from agent.life.outputs import prepared, write_life
from agent.life.scenario import read_scenario
from agent.life.summary import summarised
from agent.simulation.factory import check_simulable
from agent.store.bundle import Bundle, open_bundle
from agent.store.package import Package, read_package
from agent.workstation.demo_bundle import read_held_out
from agent.workstation.life_picture import life_picture
from calib.graph.model import Graph
from device_models.array import Chip
from device_models.toml_file import find_device


@click.command()
@click.argument("bundle", metavar="FILE.npp", type=FILE)
@click.argument("scenario", metavar="SCENARIO.toml", type=FILE)
@click.option(
    "--data",
    metavar="DATA.npz",
    type=FILE,
    help="Samples and labels; default: the demo's held-out digits, or held-back samples.",
)
@click.option("--key", help="Read the arrays KEY_x and KEY_y instead of x and y.")
@click.option(
    "--float",
    "float_model",
    metavar="MODEL",
    type=FILE,
    help="The float .onnx or .tflite model; default: the one in the bundle, if it keeps it.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Evaluate the first so many samples.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**62),
    default=0,
    show_default=True,
    help="Of read noise, of live inputs and of draws.",
)
@click.option(
    "--fast", is_flag=True, help="A statistically equal form, where the device model has one."
)
@click.option(
    "--out", metavar="DIR", type=FILE, help="Keep records, summary and picture in this folder."
)
@json_option
def command(bundle: Path, scenario: Path, out: Path | None, as_json: bool, **given: Any) -> None:  # noqa: FBT001  # click passes flags by name
    """Let one emulated chip live, as a scenario tells, in three ways beside each other.

    Calibrated on the first day only, by a timer, and watched by the agent, which calibrates when
    its policy says so. The same files and seed give the same result.
    """
    keep_freed_memory()
    told, opened = read_scenario(scenario), open_bundle(bundle)
    package = read_package(opened)
    check_simulable(package)
    subject = Subject(
        bundle=opened,
        package=package,
        chip=Chip(find_device(told.chip), told.chip_seed),
        described=describe_chip(told.chip, told.chip_seed),
        data=_data(given["data"], given["key"], given["images"], opened, package),
        float_graph=_float_graph(given["float_model"], package),
        seed=given["seed"],
        fast=given["fast"],
    )
    folder = None if out is None else prepared(out)
    with tempfile.TemporaryDirectory() as stores, progress("living") as report:
        records = list(live(subject, told, Path(stores), report))
    summary = summarised(records, subject, told)
    if folder is not None:
        title = f"{summary['days']:.0f} days of {summary['chip']}: {package.model}"
        picture = life_picture(records, summary, title)
        if picture is None:
            warn("there is no picture without matplotlib: pip install 'npp-agent[host]'")
        write_life(folder, records, summary, picture)
    emit(summary, as_json=as_json, table=life_text(summary, folder))


def _data(
    path: Path | None, key: str | None, images: int, bundle: Bundle, package: Package
) -> Data:
    if path is not None:
        found = read_data(path, key)
    elif "held_out" in bundle.document:
        digits = read_held_out(bundle, package.network.graph.input.shape[1:])
        found = Data(digits.inputs, digits.labels.astype(np.int64))
    else:
        found = float_data(package)
    some = slice(images)
    return Data(found.x[some], None if found.y is None else found.y[some])


def _float_graph(path: Path | None, package: Package) -> Graph | None:
    if path is None:
        return package.network.float_graph
    loader = importlib.import_module("calib.importers.load")
    graph: Graph = loader.load_model(path)
    return graph
