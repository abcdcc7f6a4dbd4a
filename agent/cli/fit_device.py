"""`npp-agent fit-device`: measured cells become a device that can be emulated."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.common import FILE, emit, finite, json_option
from agent.cli.fit_device_text import fit_text
from agent.cli.installed import warn
from agent.device_fit import described, fit_document
from agent.errors import InputError, RuntimeUnavailableError
from agent.measurements_file import read_measurements
from agent.store.durable import replace_file
from device_models.errors import DeviceModelError
from device_models.fitting.generic_fit import GenericFit, fit_generic


@click.command()
@click.argument("measurements", metavar="MEASUREMENTS.csv", type=FILE)
@click.option("--out", metavar="FILE.toml", type=FILE, required=True, help="The device to write.")
@click.option("--plot", metavar="FILE.png", type=FILE, help="Draw the data and the fit.")
@click.option(
    "--g-max-us",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Conductance of the largest weight in microsiemens. Default: the largest target.",
)
@click.option(
    "--drift-start-s",
    type=click.FloatRange(min=0, max=1e9),
    callback=finite,
    help="t0 of the power law of drift, in seconds from programming, where it is known.",
)
@json_option
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    measurements: Path,
    out: Path,
    plot: Path | None,
    g_max_us: float | None,
    drift_start_s: float | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Fit a device to measured cells, and write it as a TOML file for install --chip.

    MEASUREMENTS.csv has a row for each reading, and columns whose names carry units: target_us,
    measured_us, time_s, and a column device with the cell's name if there is one.
    """
    if plot is not None and plot.suffix.lower() != ".png":
        raise click.UsageError(f"--plot {plot}: the picture is a PNG file; end its name in .png")
    if out.suffix != ".toml":
        raise click.UsageError(f"--out {out}: end its name in .toml, so that install knows it")
    for written in (out, plot):
        if written is not None and written.resolve() == measurements.resolve():
            raise click.UsageError(f"{written} holds the measurements; write to another file")
    read = read_measurements(measurements, g_max_us)
    try:
        fit = fit_generic(read.data, drift_start_s)
    except DeviceModelError as error:
        raise InputError(f"{measurements}: {error}") from error
    # Drawn before anything is written: where it fails, nothing is left behind.
    picture = _picture(measurements, plot, fit) if plot is not None else None
    replace_file(out, described(measurements.name, read, fit).encode())
    if plot is not None and picture is not None:
        replace_file(plot, picture)
    document = fit_document(read, fit)
    document |= {"file": str(measurements), "out": str(out)}
    document["plot"] = None if plot is None else str(plot)
    for sentence in fit.warnings:
        warn(sentence)
    emit(document, as_json=as_json, table=fit_text(document))


def _picture(measurements: Path, plot: Path, fit: GenericFit) -> bytes:
    from agent.workstation.fit_picture import png_fit  # noqa: PLC0415  # a board draws nothing

    picture = png_fit(fit, measurements.name)
    if picture is None:
        raise RuntimeUnavailableError(
            f"{plot} cannot be drawn: matplotlib is not installed; install the extra host, or "
            "leave out --plot"
        )
    return picture
