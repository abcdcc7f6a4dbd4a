"""The options of the scheme whose input channels have levels, and what is said of levels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from agent.cli.common import FILE, finite
from calib.channelwise import BITS_MEAN, LEVELS
from calib.errors import CalibError
from calib.schemes.mixed import checked_levels
from calib.schemes.names import CHANNELWISE

EPOCHS = 30
_DEFAULT_LEVELS = ",".join(map(str, LEVELS))


def _levels(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return checked_levels([int(part) for part in value.split(",")])
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is no list of bits; give one to three, such as {_DEFAULT_LEVELS}"
        ) from error
    except CalibError as error:
        raise click.BadParameter(str(error)) from error


@dataclass(frozen=True)
class Mixing:
    """What was said of levels."""

    options: dict[str, Any]
    """Fields of `PackOptions`."""

    train: Path | None
    epochs: int


def level_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--levels`, `--bits`, `--train` and `--epochs`, as one `Mixing` called `mixing`.

    Raises:
        click.UsageError: they are given with another scheme, or activations have bits besides, or
            there are epochs without training.
    """

    @functools.wraps(function)
    @click.pass_context
    def gathered(context: click.Context, /, **given: Any) -> Any:
        names = {"levels": "levels", "bits": "bits_mean"}
        said = {new: given.pop(old) for old, new in names.items()}
        options = {name: value for name, value in said.items() if value is not None}
        mixing = Mixing(options, given.pop("train"), given.pop("epochs"))
        _check(context, mixing, given["scheme"])
        return function(mixing=mixing, **given)

    levels = click.option(
        "--levels",
        callback=_levels,
        metavar="BITS,...",
        help=f"Of {CHANNELWISE}: what an input channel can have, at most three numbers of 1 to 8 "
        f"bits; {_DEFAULT_LEVELS} by default.",
    )
    bits = click.option(
        "--bits",
        type=click.FloatRange(min=0, min_open=True),
        callback=finite,
        help=f"Of {CHANNELWISE}: mean bits of all weights, at most; {BITS_MEAN:g} by default.",
    )
    train = click.option(
        "--train",
        metavar="DATA.npz",
        type=FILE,
        help=f"Of {CHANNELWISE}: train levels and weights on these samples; without labels the "
        "float network's answers are the aim.",
    )
    epochs = click.option(
        "--epochs",
        type=click.IntRange(1, 10_000),
        default=EPOCHS,
        show_default=True,
        help="Of --train; what was trained is kept beside the bundle, and an interrupted training "
        "goes on from there.",
    )
    return levels(bits(train(epochs(gathered))))


def _check(context: click.Context, mixing: Mixing, scheme: str) -> None:
    def is_said(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if (mixing.options or mixing.train) and scheme != CHANNELWISE:
        raise click.UsageError(
            f"--levels, --bits and --train belong to --scheme {CHANNELWISE}; {scheme} has bits of "
            "its own"
        )
    if is_said("epochs") and mixing.train is None:
        raise click.UsageError("--epochs says how long to train: give --train as well")
    if scheme == CHANNELWISE and is_said("activation_bits"):
        raise click.UsageError(
            f"with --scheme {CHANNELWISE} activations have the bits of their channel's level; "
            "leave out --activation-bits"
        )


def levels_text(levels: list[dict[str, int]] | None) -> str:
    """How many channels have how many bits: `12x2 4x8`."""
    return " ".join(f"{one['channels']}x{one['bits']}" for one in levels or ())
