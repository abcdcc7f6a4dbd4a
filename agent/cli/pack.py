"""`npp-agent pack`: a model and samples become a bundle."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from agent.cli.budget import budget_options, chosen_budget, rank_option
from agent.cli.common import FILE, emit, json_option
from agent.cli.pack_report import describe, table_of
from agent.cli.progress import progress
from agent.cli.signing import signing_options, written_signed
from agent.runtimes.names import CIM, RUNTIMES, TFLITE
from agent.runtimes.tflite_plan import PRE_ACTIVATION, SURROGATES_AT
from agent.store.package import Package
from agent.workstation.pack import PHASES, pack
from agent.workstation.target import AUTO, Target
from calib.prepare import PackOptions
from calib.reference_plan import FORMS, MOMENT_RANK
from calib.schemes.weights import FLOAT, SCHEMES


@click.command()
@click.argument("model", type=FILE)
@click.option(
    "--samples",
    required=True,
    metavar="DATA.npz",
    type=FILE,
    help="Samples; labels are only checked.",
)
@click.option("--key", help="Read the arrays KEY_x and KEY_y instead of x and y.")
@click.option("--out", required=True, metavar="FILE.npp", type=FILE, help="The bundle to write.")
@click.option(
    "--scheme",
    type=click.Choice([*SCHEMES, FLOAT]),
    default="int8",
    show_default=True,
    help="Weights of the main path; float: quantised when it is installed.",
)
@click.option(
    "--activation-bits",
    type=click.IntRange(4, 8),
    default=8,
    show_default=True,
    help="Of the inputs of each layer.",
)
@rank_option(
    default=8,
    text="Budget of the surrogates: the bytes of this rank in every layer, 16 bits a number.",
)
@budget_options
@click.option(
    "--references",
    type=click.IntRange(6, 100_000),
    default=96,
    show_default=True,
    help="Samples that factors can be fitted to.",
)
@click.option(
    "--held-back",
    type=click.IntRange(2, 100_000),
    default=32,
    show_default=True,
    help="Samples that only judge new factors.",
)
@click.option(
    "--references-as",
    type=click.Choice(FORMS),
    default="auto",
    show_default=True,
    help="Their layers' clean outputs: computed on the board, or in the bundle; or moments, with "
    "no sample in the bundle.",
)
@click.option(
    "--moment-rank",
    type=click.IntRange(0, 1024),
    default=MOMENT_RANK,
    show_default=True,
    help="Of the correlations that moments keep of each layer's inputs.",
)
@click.option(
    "--budget-kib",
    type=click.IntRange(1, 2**18),
    default=1024,
    show_default=True,
    help="What all samples and references may take in the bundle.",
)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    default=CIM,
    show_default=True,
    help="What will run the main path: cim is the emulated chip; the others, the processor.",
)
@click.option(
    "--surrogates-at",
    type=click.Choice(SURROGATES_AT),
    default=PRE_ACTIVATION,
    show_default=True,
    help="tflite: correct before the activation, or behind it, which leaves the kernels as they "
    "are in a quantised file.",
)
@click.option(
    "--branches",
    default=AUTO,
    show_default=True,
    metavar="all|none|auto|NAMES",
    help="tflite: the layers that get a branch, names with commas between; others have a gain and "
    "an offset.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of the positions that are looked at.",
)
@signing_options
@json_option
@click.pass_context
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    context: click.Context,
    model: Path,
    samples: Path,
    key: str | None,
    out: Path,
    scheme: str,
    activation_bits: int,
    rank: int,
    budget_bytes: int | None,
    budget_mac_share: float | None,
    budget_slowdown: float | None,
    references: int,
    held_back: int,
    references_as: str,
    moment_rank: int,
    budget_kib: int,
    runtime: str,
    surrogates_at: str,
    branches: str,
    seed: int,
    sign: Path | None,
    version_number: int | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Pack a float .onnx or .tflite MODEL, or an int8 .tflite one, into a bundle for a board.

    The samples are taken in the file's order: first the held-back ones, which judge new factors,
    then the references, from which they are fitted. Labels are only looked at to check them.
    """
    chosen_budget(context, rank, budget_bytes, budget_mac_share, budget_slowdown)
    options = PackOptions(
        scheme=scheme,
        activation_bits=activation_bits,
        rank=rank,
        references=references,
        held_back=held_back,
        references_as=references_as,
        moment_rank=moment_rank,
        budget_bytes=budget_kib * 1024,
        seed=seed,
        surrogate_bytes=budget_bytes,
        surrogate_mac_share=budget_mac_share,
        slowdown=budget_slowdown,
    )
    target = _target(context, runtime, surrogates_at, branches)
    package = _packed(model, samples, key, options, target)
    written = written_signed(package, out, sign, version_number)
    result = describe(package, out, written)
    emit(result, as_json=as_json, table=table_of(result))


def _target(context: click.Context, runtime: str, surrogates_at: str, branches: str) -> Target:
    """What to pack for.

    Raises:
        click.UsageError: an option that the runtime does not have.
    """
    for name in ("surrogates_at", "branches"):
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and runtime != TFLITE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is for --runtime {TFLITE}, not {runtime}: leave it out"
            )
    return Target(runtime, surrogates_at, branches)


def _packed(
    model: Path, samples: Path, key: str | None, options: PackOptions, target: Target
) -> Package:
    with progress("packing") as report:
        done = iter(range(PHASES))

        def tell(_phase: str) -> None:
            report(next(done, PHASES), PHASES)

        return pack(model, samples, key, options, tell, target=target)
