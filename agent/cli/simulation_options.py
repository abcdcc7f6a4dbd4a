"""The options of `npp-agent simulate`, gathered into one value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from agent.cli.common import FILE, finite
from agent.methods import METHODS
from agent.simulation.plan import EACH, RECALIBRATE
from calib.selection import RULES

_SEED_LIMIT = 2**62


@dataclass(frozen=True)
class SimulationOptions:
    """What the user chose."""

    data: Path
    key: str | None
    float_model: Path | None
    chip: str
    chips: int
    first_seed: int
    sweep: str | None
    ages: str
    temperature_c: float
    supply_v: float | None
    recalibrate: str
    samples: int
    select: str
    method: str
    limit: float
    images: int | None
    fast: bool
    workers: int | None
    scheduler: str | None
    out: Path | None


_OPTIONS = (
    click.option(
        "--data", required=True, metavar="DATA.npz", type=FILE, help="Samples and labels."
    ),
    click.option("--key", help="Read the arrays KEY_x and KEY_y instead of x and y."),
    click.option(
        "--float",
        "float_model",
        metavar="MODEL",
        type=FILE,
        help="The float .onnx or .tflite model; default: the one in the bundle, if it keeps it.",
    ),
    click.option(
        "--chip",
        metavar="NAME",
        default="sram-bitplane",
        show_default=True,
        help="Device model: a preset, or the path of a TOML file.",
    ),
    click.option(
        "--chips",
        type=click.IntRange(1, 100_000),
        default=20,
        show_default=True,
        help="How many chips; with --sweep, of each value.",
    ),
    click.option(
        "--first-seed",
        type=click.IntRange(0, _SEED_LIMIT),
        default=0,
        show_default=True,
        help="Seed of the first chip; the others follow.",
    ),
    click.option(
        "--sweep",
        metavar="PARAMETER=V1,V2,...",
        help="A parameter of the device model; each of its values is a group of chips.",
    ),
    click.option(
        "--ages",
        metavar="AGES",
        default="0",
        show_default=True,
        help="At which ages, ascending: seconds, or with a unit (s, min, h, d, y): 1,1d,30d,1y.",
    ),
    click.option(
        "--temperature-c",
        type=click.FloatRange(min=-273.15),
        callback=finite,
        default=25.0,
        show_default=True,
        help="Of all chips, in degrees Celsius.",
    ),
    click.option(
        "--supply-v",
        type=click.FloatRange(min=0, min_open=True),
        callback=finite,
        help="Of all chips' arrays, in volts; default: the model's own.",
    ),
    click.option(
        "--recalibrate",
        type=click.Choice(RECALIBRATE),
        default=EACH,
        show_default=True,
        help="Not at all, at the first age only, or at each age.",
    ),
    click.option(
        "--samples",
        type=click.IntRange(1, 1_000_000),
        default=32,
        show_default=True,
        help="How many of the references a calibration runs on the chip.",
    ),
    click.option(
        "--select",
        type=click.Choice([*RULES]),
        default="sensitivity",
        show_default=True,
        help="Which: as for calibrate.",
    ),
    click.option(
        "--method",
        type=click.Choice(["auto", *METHODS]),
        default="auto",
        show_default=True,
        help="How factors are fitted: as for calibrate.",
    ),
    click.option(
        "--limit",
        type=click.FloatRange(0, 1),
        callback=finite,
        default=0.97,
        show_default=True,
        help="Share of the float network's accuracy that a good chip keeps.",
    ),
    click.option(
        "--images",
        type=click.IntRange(1),
        help="Evaluate the first so many samples only; default: all.",
    ),
    click.option(
        "--fast", is_flag=True, help="A statistically equal form, where the device model has one."
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        help="Processes on this machine; default: as many as it has processors.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Use the workers of this Dask scheduler instead, such as tcp://HOST:8786.",
    ),
    click.option(
        "--out",
        metavar="DIR",
        type=FILE,
        help="Keep results here, and go on from those that are there.",
    ),
)


def simulation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add all of them, as one `SimulationOptions` named `options`."""

    @functools.wraps(function)
    def gathered(**given: Any) -> Any:
        names = [spec.name for spec in fields(SimulationOptions)]
        chosen = SimulationOptions(**{name: given.pop(name) for name in names})
        if chosen.workers is not None and chosen.scheduler is not None:
            raise click.UsageError(
                "give --workers or --scheduler, not both: a cluster has its own workers"
            )
        return function(options=chosen, **given)

    decorated: Callable[..., Any] = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
