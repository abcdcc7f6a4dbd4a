"""The options that say what factors may cost, the same for `pack` and `calibrate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from agent.cli.common import finite
from agent.cli.units import bytes_text
from calib.budget import Budget

Function = TypeVar("Function", bound=Callable[..., Any])


def rank_option(*, default: int | None, text: str) -> Callable[[Function], Function]:
    """Add `--rank`."""
    return click.option(
        "--rank",
        type=click.IntRange(0, 4096),
        default=default,
        show_default=default is not None,
        help=text,
    )


def budget_options(function: Function) -> Function:
    """Add `--budget-bytes`, `--budget-mac-share`, `--budget-slowdown`, None where not given."""
    by_bytes = click.option(
        "--budget-bytes",
        type=click.IntRange(0, 2**31 - 1),
        help="Budget instead of --rank: the bytes of all factors as they are stored.",
    )
    by_operations = click.option(
        "--budget-mac-share",
        type=click.FloatRange(min=0),
        callback=finite,
        help="Budget besides: multiply-accumulates of the surrogates, as a share of the network's.",
    )
    by_time = click.option(
        "--budget-slowdown",
        type=click.FloatRange(min=1),
        callback=finite,
        help="Budget besides: time of a sample with surrogates, in times of that without any, as "
        "measured on the board; layers get a branch where it is worth most. For onnxruntime alone; "
        "packed with int8 there, it is 1.25 unless another is given.",
    )
    return by_bytes(by_operations(by_time(function)))


def chosen_budget(
    context: click.Context,
    rank: int | None,
    size_bytes: int | None,
    mac_share: float | None,
    slowdown: float | None,
) -> Budget:
    """The budget that the options say.

    Raises:
        click.UsageError: rank and bytes are both given.
    """
    if size_bytes is not None:
        if context.get_parameter_source("rank") is ParameterSource.COMMANDLINE:
            raise click.UsageError("give --rank or --budget-bytes, not both: each sets the bytes")
        rank = None
    return Budget(rank, size_bytes, mac_share, slowdown)


def budget_text(budget: Mapping[str, Any]) -> str:
    """A budget in a few words."""
    parts = [f"rank {budget['rank']}"] if budget["rank"] is not None else []
    if budget["bytes"] is not None:
        parts.append(bytes_text(budget["bytes"]))
    if budget["mac_share"] is not None:
        parts.append(f"{budget['mac_share']:.1%} of the multiply-accumulates")
    if budget["slowdown"] is not None:
        parts.append(f"{budget['slowdown']:.3g} times the time without branches")
    return ", ".join(parts)
