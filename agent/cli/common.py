"""What commands share: options that mean the same everywhere, and the way results are printed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.places import default_store
from agent.strict_json import strict_json

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]

FILE = click.Path(path_type=Path)
"""A file argument. That it is missing is seen when it is opened: an error, not wrong usage."""


def _store_or_default(
    _context: click.Context, _option: click.Parameter, value: Path | None
) -> Path:
    return default_store() if value is None else value


def finite(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """What an option was given, if it is a finite number: a callback for click."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout, and nothing else."
)

store_option = click.option(
    "--store",
    metavar="DIR",
    type=FILE,
    callback=_store_or_default,
    help="The store, a directory or an image. Default: $NPP_STORE, else /var/lib/npp-agent if "
    "writable, else the user's.",
)

age_option = click.option(
    "--age-s",
    type=click.FloatRange(min=0),
    callback=finite,
    help="Age of the emulated chip in seconds; the store remembers the last.",
)

temperature_option = click.option(
    "--temperature-c",
    type=click.FloatRange(min=-273.15),
    callback=finite,
    help="Temperature of the emulated chip in degrees Celsius; the store remembers the last.",
)


supply_option = click.option(
    "--supply-v",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Supply of the emulated chip's arrays in volts; the store remembers the last.",
)


def chip_state_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--age-s`, `--temperature-c` and `--supply-v`, as one mapping `conditions`.

    Its values are None where nothing was given.
    """

    @functools.wraps(function)
    def gathered(**given: Any) -> Any:
        names = ("age_s", "temperature_c", "supply_v")
        return function(conditions={name: given.pop(name) for name in names}, **given)

    return age_option(temperature_option(supply_option(gathered)))


def emit(document: Mapping[str, object], *, as_json: bool, table: str) -> None:
    """Print a command's result: the document as one line of JSON, or its table."""
    click.echo(strict_json(document) if as_json else table)
