"""`npp-agent pack`: a model and samples become a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.budget import budget_options, chosen_budget, rank_option
from agent.cli.common import FILE, emit, json_option
from agent.cli.levels import Mixing, level_options
from agent.cli.pack_report import describe, table_of
from agent.cli.progress import progress, say
from agent.cli.signing import signing_options, written_signed
from agent.cli.target import target_options
from agent.store.package import Package
from agent.workstation.level_training import TrainingChoice, journal_path
from agent.workstation.pack import PHASES, pack
from agent.workstation.target import Target
from calib.prepare import PackOptions
from calib.reference_plan import FORMS, MOMENT_RANK
from calib.schemes.names import CHANNELWISE
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
    type=click.Choice([*SCHEMES, CHANNELWISE, FLOAT]),
    default="int8",
    show_default=True,
    help="Weights of the main path; float: quantised when it is installed.",
)
@level_options
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
@target_options
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
    seed: int,
    target: Target,
    sign: Path | None,
    version_number: int | None,
    mixing: Mixing,
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
        **mixing.options,
    )
    package = _packed(model, samples, key, options, target, _training(mixing, out))
    written = written_signed(package, out, sign, version_number)
    journal_path(out).unlink(missing_ok=True)
    result = describe(package, out, written)
    emit(result, as_json=as_json, table=table_of(result))


def _training(mixing: Mixing, out: Path) -> TrainingChoice | None:
    def tell(done: int, of: int) -> None:
        say(f"epoch {done} of {of} is done")

    if mixing.train is None:
        return None
    return TrainingChoice(mixing.train, mixing.epochs, journal_path(out), say, tell)


def _packed(  # noqa: PLR0913, PLR0917  # what a user says on one command line
    model: Path,
    samples: Path,
    key: str | None,
    options: PackOptions,
    target: Target,
    training: TrainingChoice | None,
) -> Package:
    with progress("packing") as report:
        done = iter(range(PHASES))

        def tell(_phase: str) -> None:
            report(next(done, PHASES), PHASES)

        return pack(model, samples, key, options, tell, target=target, training=training)
