"""Parameters of device models: each field knows its unit, its range, its meaning and its source."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol

from device_models.errors import DeviceModelError
from device_models.registry import DeviceModel


class Parameters(Protocol):
    """A dataclass whose fields are made by `parameter`: a device model, or constants."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class Described:
    """One parameter as a listing shows it."""

    name: str
    value: float | int | None
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


def check(model: DeviceModel) -> None:
    """Check every parameter's type and range; a model calls it when it is made.

    Raises:
        DeviceModelError: the first parameter that does not fit, with its limits.
    """
    for spec in fields(model):
        _check_value(model.kind, spec, getattr(model, spec.name))


def describe(model: Parameters) -> tuple[Described, ...]:
    """Every parameter of a model with its value, unit, meaning and source."""
    return tuple(
        Described(
            name=spec.name,
            value=getattr(model, spec.name),
            unit=spec.metadata["unit"],
            meaning=spec.metadata["meaning"],
            source=spec.metadata["source"],
        )
        for spec in fields(model)
    )


def _check_value(kind: str, spec: Field[Any], value: object) -> None:
    facts = spec.metadata
    if value is None and facts["optional"]:
        return
    number = "whole number" if facts["whole"] else "number"
    types = (int,) if facts["whole"] else (int, float)
    fits = isinstance(value, types) and not isinstance(value, bool)
    if fits and math.isfinite(value) and facts["low"] <= value <= facts["high"]:  # type: ignore[arg-type]  # a number by now
        return
    other = ' or "none"' if facts["optional"] else ""
    raise DeviceModelError(
        f"device model {kind}: {spec.name} is {value!r}; "
        f"give a {number} from {facts['low']:g} to {facts['high']:g}{other} "
        f"(unit {facts['unit']})"
    )
