"""The options that say what a bundle is packed for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from agent.runtimes.names import CIM, RUNTIMES, TFLITE
from agent.runtimes.tflite_plan import PRE_ACTIVATION, SURROGATES_AT
from agent.workstation.target import AUTO, Target


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--runtime`, `--surrogates-at` and `--branches`, as one `Target` called `target`.

    Raises:
        click.UsageError: an option that the runtime does not have.
    """

    @functools.wraps(function)
    @click.pass_context
    def gathered(context: click.Context, /, **given: Any) -> Any:
        names = ("runtime", "surrogates_at", "branches")
        target = Target(*(given.pop(name) for name in names))
        _check(context, target.runtime)
        return function(target=target, **given)

    runtime = click.option(
        "--runtime",
        type=click.Choice(RUNTIMES),
        default=CIM,
        show_default=True,
        help="What will run the main path: cim is the emulated chip; the others, the processor.",
    )
    surrogates_at = click.option(
        "--surrogates-at",
        type=click.Choice(SURROGATES_AT),
        default=PRE_ACTIVATION,
        show_default=True,
        help="tflite: correct before the activation, or behind it, which leaves the kernels as "
        "they are in a quantised file.",
    )
    branches = click.option(
        "--branches",
        default=AUTO,
        show_default=True,
        metavar="all|none|auto|NAMES",
        help="tflite: the layers that get a branch, names with commas between; others have a gain "
        "and an offset.",
    )
    return runtime(surrogates_at(branches(gathered)))


def _check(context: click.Context, runtime: str) -> None:
    for name in ("surrogates_at", "branches"):
        is_said = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_said and runtime != TFLITE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(
                f"{option} is for --runtime {TFLITE}, not {runtime}: leave it out"
            )
