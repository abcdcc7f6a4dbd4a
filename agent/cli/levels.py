"""The options of the scheme whose input channels have levels, and what is said of levels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from agent.cli.common import finite
from calib.channelwise import BITS_MEAN, LEVELS
from calib.errors import CalibError
from calib.schemes.mixed import checked_levels
from calib.schemes.names import CHANNELWISE

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


def level_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--levels` and `--bits`, as one mapping `mixing` of what was given.

    Raises:
        click.UsageError: they are given with another scheme, or activations have bits besides.
    """

    @functools.wraps(function)
    @click.pass_context
    def gathered(context: click.Context, /, **given: Any) -> Any:
        names = {"levels": "levels", "bits": "bits_mean"}
        said = {new: given.pop(old) for old, new in names.items()}
        mixing = {name: value for name, value in said.items() if value is not None}
        if mixing and given["scheme"] != CHANNELWISE:
            raise click.UsageError(
                f"--levels and --bits belong to --scheme {CHANNELWISE}; {given['scheme']} has bits "
                "of its own"
            )
        source = context.get_parameter_source("activation_bits")
        if given["scheme"] == CHANNELWISE and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"with --scheme {CHANNELWISE} activations have the bits of their channel's level; "
                "leave out --activation-bits"
            )
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
    return levels(bits(gathered))


def levels_text(levels: list[dict[str, int]] | None) -> str:
    """How many channels have how many bits: `12x2 4x8`."""
    return " ".join(f"{one['channels']}x{one['bits']}" for one in levels or ())
