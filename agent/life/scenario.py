"""A scenario: what happens to a chip in its life, as a TOML file tells it.

chip = "pcm"
days = 365
day_swing_c = 10

[[dead_column]]
day = 200
layer = "convolution_2"
column = 3
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from agent.errors import InputError
from agent.watch.budget import Allowance
from agent.watch.policy import Policy
from agent.watch.settings import WatchSettings

LARGEST_FILE_BYTES = 65_536
MOST_DAYS = 3_660.0
MOST_EVENTS = 100

Table = TypeVar("Table")


@dataclass(frozen=True)
class SupplyStep:
    """From a day on the supply is another."""

    day: float
    volts: float


@dataclass(frozen=True)
class DeadColumn:
    """From a day on one output of a layer's main path is silent."""

    day: float
    layer: str
    column: int


@dataclass(frozen=True)
class MovedInputs:
    """From a day to another the inputs are `gain` times what they were, plus `offset`."""

    day: float
    until_day: float = math.inf
    gain: float = 1.0
    offset: float = 0.0
    """In parts of the largest value that the data holds."""


def _some_days(low: float, default: float) -> Any:
    return field(default=default, metadata={"low": low, "high": MOST_DAYS})


def _between(low: float, high: float, default: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Scenario:
    """What happens to a chip."""

    chip: str = "sram-bitplane"
    """A preset, or the path of a TOML file."""

    chip_seed: int = _between(0, 2**62, 0)
    days: float = _some_days(0.01, 365.0)
    start_age_h: float = _between(0, 1e6, 1.0)
    """Age at which the life begins, with a calibration."""

    ageing: bool = True
    """Without it the chip stays as old as it is."""

    temperature_c: float = _between(-55, 150, 25.0)
    day_swing_c: float = _between(0, 100, 0.0)
    """Amplitude over a day: warmest at six o'clock of the scenario."""

    year_swing_c: float = _between(0, 100, 0.0)
    round_h: float = _between(0.05, 240, 6.0)
    """Between rounds of canaries; while the chip is young, a tenth of its age if that is less."""

    evaluate_h: float = _between(0.05, 2400, 30.0)
    """Between evaluations of the accuracy; no multiple of a day sees all hours of the day."""

    timer_h: float = _between(0.1, 10_000, 24.0)
    """Between the calibrations of the timer that the policy is compared with."""

    samples: int = _between(1, 1_000_000, 32)
    """Of a calibration."""

    supply: tuple[SupplyStep, ...] = ()
    dead_column: tuple[DeadColumn, ...] = ()
    inputs: tuple[MovedInputs, ...] = ()
    watch: WatchSettings = field(default_factory=WatchSettings)
    policy: Policy = field(default_factory=Policy)


_EVENTS: Mapping[str, type[Any]] = {
    "supply": SupplyStep,
    "dead_column": DeadColumn,
    "inputs": MovedInputs,
}
_TABLES = ("watch", "policy", "allowance")


def read_scenario(path: Path) -> Scenario:
    """Read a scenario.

    Raises:
        InputError: no file, no TOML, an unknown name, or a value of a wrong kind or range.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_FILE_BYTES} bytes: no scenario")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the scenario {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text, so no scenario") from error
    return parse_scenario(text, str(path))


def parse_scenario(text: str, name: str) -> Scenario:
    """The scenario that a text tells; `name` is what errors call it.

    Raises:
        InputError: as for `read_scenario`.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is no TOML: {error}") from error
    tables = {key: document.pop(key, {}) for key in _TABLES}
    events = {
        key: tuple(_table(kind, one, f"{name}: {key}") for one in _list(document, key, name))
        for key, kind in _EVENTS.items()
    }
    if not all(isinstance(table, dict) for table in tables.values()):
        raise InputError(f"{name}: {', '.join(_TABLES)} are tables, such as [policy]")
    allowance = _table(Allowance, tables["allowance"], f"{name}: allowance")
    extra: dict[str, Any] = {
        **events,
        "watch": _table(WatchSettings, tables["watch"], f"{name}: watch"),
        "policy": _table(Policy, tables["policy"], f"{name}: policy", allowance=allowance),
    }
    return _table(Scenario, document, name, **extra)


def _list(document: dict[str, Any], key: str, name: str) -> list[Any]:
    found = document.pop(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{name}: {key} is a list of tables, such as [[{key}]]")
    if len(found) > MOST_EVENTS:
        raise InputError(f"{name}: {len(found)} times {key}, at most {MOST_EVENTS} are allowed")
    return found


def _table(kind: type[Table], given: Mapping[str, Any], name: str, **more: Any) -> Table:
    """A frozen value from the entries of a table."""
    known = {one.name: one for one in fields(kind) if one.name not in more}  # type: ignore[arg-type]  # all kinds here are dataclasses
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(known)}"
            raise InputError(f"{name} has no entry {key[:40]!r}; {hint}")
    values = {key: _value(known[key], value, name) for key, value in given.items()}
    missing = [key for key in known if key not in values and _is_needed(known[key])]
    if missing:
        raise InputError(f"{name}: {missing[0]} is missing")
    return kind(**values, **more)


def _is_needed(one: Field[Any]) -> bool:
    from dataclasses import MISSING  # noqa: PLC0415 - used here alone

    return one.default is MISSING and one.default_factory is MISSING


def _value(one: Field[Any], value: Any, name: str) -> Any:
    """A value of the kind that a field says, within its range."""
    kind = str(one.type)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind == "float" and (whole or isinstance(value, float)):
        return _in_range(one, float(value), name)
    if kind == "int" and whole:
        return _in_range(one, value, name)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    if kind.startswith("tuple[str") and words:
        return tuple(value)
    raise InputError(f"{name}: {one.name} is {str(value)[:40]!r}; give a {kind}")


def _in_range(one: Field[Any], value: float, name: str) -> float:
    low, high = one.metadata.get("low", -math.inf), one.metadata.get("high", math.inf)
    if one.name in {"day", "until_day", "column"}:
        low = 0
    if math.isnan(value) or not low <= value <= high:
        raise InputError(f"{name}: {one.name} is {value}; give a number from {low:g} to {high:g}")
    return value
