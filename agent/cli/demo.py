"""`npp-agent demo`: the whole story on the embedded network, on one emulated chip."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from agent.cli.common import FILE, emit, json_option
from agent.cli.demo_story import chart_subtitle, story
from agent.cli.progress import progress
from agent.store.durable import replace_file
from agent.store.store import Store
from agent.workstation.chart import LayerBars, png_chart, text_chart
from agent.workstation.demo import CHIP, CHIP_SEED, run_demo

REFUSED = 3
TITLE = "Handwritten digits on one unreliable chip"


@click.command()
@click.option("--chip", default=CHIP, show_default=True, help="A preset, or a TOML file.")
@click.option(
    "--chip-seed",
    type=click.IntRange(0, 2**63 - 1),
    default=CHIP_SEED,
    show_default=True,
    help="Which chip of its kind.",
)
@click.option(
    "--store", metavar="DIR", type=FILE, help="Keep the store here. Default: one that is removed."
)
@click.option(
    "--out", metavar="FILE.png", type=FILE, default="npp-demo.png", show_default=True, help="Chart."
)
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    context: click.Context,
    chip: str,
    chip_seed: int,
    store: Path | None,
    out: Path,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Show how a network loses its accuracy on a bad chip, and gets it back.

    A small network that reads handwritten digits is installed on one emulated chip, measured,
    calibrated, restarted and rolled back. Nothing is downloaded.
    """
    with _directory(store) as directory:
        with progress("demo") as report:
            document = run_demo(Store(directory), chip, chip_seed, tell=report)
        document["store"] = str(store) if store is not None else None
    layers = [
        LayerBars(layer["name"], layer["error_before"], layer["error_after"])
        for layer in document["calibration"]["layers"]
    ]
    picture = png_chart(layers, TITLE, chart_subtitle(document))
    if picture is not None:
        replace_file(out, picture)
    document["chart"] = None if picture is None else str(out)
    text = story(document)
    if picture is None:
        text += f"\n\n{text_chart(layers)}"
    emit(document, as_json=as_json, table=text)
    if not document["calibration"]["accepted"]:
        context.exit(REFUSED)


@contextlib.contextmanager
def _directory(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="npp-demo-") as folder:
        yield Path(folder) / "store"
