"""Parameters of device models: each field knows its unit, its range, its meaning and its source."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol

from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError

MOST_COEFFICIENTS = 8


Value = float | int | str | tuple[float, ...] | None
"""What a parameter can be."""


class Parameters(Protocol):
    """A dataclass whose fields are made by `parameter`: a device model, or constants."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class Described:
    """One parameter as a listing shows it."""

    name: str
    value: Value
    unit: str
    meaning: str
    source: str


def parameter(  # noqa: PLR0913  # a field's facts, all by keyword
    default: float | None,
    *,
    unit: str,
    meaning: str,
    source: str,
    low: float,
    high: float,
    whole: bool = False,
    optional: bool = False,
) -> Any:
    """A dataclass field with its unit, meaning and source.

    Args:
        default: Value where none is given.
        unit: Unit of the value; "1" for a ratio.
        meaning: What it is, in a few words.
        source: Where figure and formula come from, or "stated assumption".
        low: Least value allowed.
        high: Greatest value allowed.
        whole: Only whole numbers.
        optional: None is allowed too; a file says "none".
    """
    facts = {"unit": unit, "meaning": meaning, "source": source}
    limits = {"low": low, "high": high, "whole": whole, "optional": optional}
    return field(default=default, metadata={**facts, **limits})


def coefficients(  # noqa: PLR0913  # a field's facts, all by keyword
    default: tuple[float, ...],
    *,
    unit: str,
    meaning: str,
    source: str,
    fewest: int | None = None,
    low: float = -1e6,
    high: float = 1e6,
) -> Any:
    """A dataclass field of several numbers: the constants of one formula, an array in a file.

    Args:
        default: Values where none are given.
        unit: Unit of what the formula gives.
        meaning: The formula.
        source: Where figures and formula come from.
        fewest: How many there are at least; exactly as many as in the default, where None.
        low: Least value allowed for each.
        high: Greatest value allowed for each.
    """
    facts = {"unit": unit, "meaning": meaning, "source": source}
    counts = (len(default), len(default)) if fewest is None else (fewest, MOST_COEFFICIENTS)
    limits = {"low": low, "high": high, "whole": False, "optional": False, "counts": counts}
    return field(default=default, metadata={**facts, **limits})


def choice(default: str, *, words: tuple[str, ...], meaning: str, source: str) -> Any:
    """A dataclass field that is one of a few words."""
    facts = {"unit": "word", "meaning": meaning, "source": source}
    return field(default=default, metadata={**facts, "words": words, "optional": False})


def part(kind: type[Parameters]) -> Any:
    """A dataclass field for parameters that belong together and may be absent, all of them.

    A file gives them as a table of the field's name.
    """
    return field(default=None, metadata={"part": kind})


def own_fields(model: Parameters | type[Parameters]) -> tuple[Field[Any], ...]:
    """The fields of a model that are parameters."""
    return tuple(spec for spec in fields(model) if "part" not in spec.metadata)


def part_fields(model: Parameters | type[Parameters]) -> tuple[Field[Any], ...]:
    """The fields of a model that are parts, with parameters of their own."""
    return tuple(spec for spec in fields(model) if "part" in spec.metadata)


def check(model: DeviceModel) -> None:
    """Check every parameter's type and range; a model calls it when it is made.

    Raises:
        DeviceModelError: the first parameter that does not fit, with its limits.
    """
    _check_all(f"device model {model.kind}: ", model)


def check_part(inner: Parameters, name: str) -> None:
    """Check the parameters of a part that models have under a name, in the same way.

    Raises:
        DeviceModelError: the first parameter that does not fit, with its limits.
    """
    _check_all(f"{name}.", inner)


def _check_all(where: str, model: Parameters) -> None:
    for spec in own_fields(model):
        value = getattr(model, spec.name)
        if "words" in spec.metadata:
            _check_word(where, spec, value)
        elif "counts" in spec.metadata:
            _check_coefficients(where, spec, value)
        elif not (value is None and spec.metadata["optional"]):
            _check_value(where, spec, value)


def check_below(model: DeviceModel, low: str, high: str) -> None:
    """Check that one parameter of a model is below another.

    Raises:
        DeviceModelError: it is not.
    """
    least, most = getattr(model, low), getattr(model, high)
    if not least < most:
        raise DeviceModelError(
            f"device model {model.kind}: {low} is {least} and {high} is {most}; "
            f"give a {low} below {high}"
        )


def describe(model: Parameters, prefix: str = "") -> tuple[Described, ...]:
    """Every parameter of a model, and of the parts that it has, by names with a dot.

    Args:
        model: a device model, a part of one, or constants.
        prefix: what stands before each name.
    """
    own = tuple(
        Described(
            name=f"{prefix}{spec.name}",
            value=getattr(model, spec.name),
            unit=spec.metadata["unit"],
            meaning=spec.metadata["meaning"],
            source=spec.metadata["source"],
        )
        for spec in own_fields(model)
    )
    parts = ((spec.name, getattr(model, spec.name)) for spec in part_fields(model))
    return own + tuple(
        entry
        for name, inner in parts
        if inner is not None
        for entry in describe(inner, f"{prefix}{name}.")
    )


def _check_value(where: str, spec: Field[Any], value: object) -> None:
    if _fits(spec, value):
        return
    facts = spec.metadata
    number = "whole number" if facts["whole"] else "number"
    other = ' or "none"' if facts["optional"] else ""
    raise DeviceModelError(
        f"{where}{spec.name} is {value!r}; "
        f"give a {number} from {facts['low']:g} to {facts['high']:g}{other} "
        f"(unit {facts['unit']})"
    )


def _check_coefficients(where: str, spec: Field[Any], values: object) -> None:
    facts = spec.metadata
    fewest, most = facts["counts"]
    fits = isinstance(values, tuple) and fewest <= len(values) <= most
    if fits and all(_fits(spec, value) for value in values):  # type: ignore[attr-defined]  # a tuple by now
        return
    shown = list(values) if isinstance(values, tuple) else values
    count = str(fewest) if fewest == most else f"{fewest} to {most}"
    raise DeviceModelError(
        f"{where}{spec.name} is {str(shown)[:80]}; "
        f"give a list of {count} numbers from {facts['low']:g} to {facts['high']:g} "
        f"(unit {facts['unit']})"
    )


def _check_word(where: str, spec: Field[Any], value: object) -> None:
    if value not in spec.metadata["words"]:
        words = ", ".join(repr(word) for word in spec.metadata["words"])
        raise DeviceModelError(f"{where}{spec.name} is {str(value)[:40]!r}; give one of {words}")


def _fits(spec: Field[Any], value: object) -> bool:
    facts = spec.metadata
    types = (int,) if facts["whole"] else (int, float)
    if not isinstance(value, types) or isinstance(value, bool):
        return False
    return math.isfinite(value) and facts["low"] <= value <= facts["high"]
