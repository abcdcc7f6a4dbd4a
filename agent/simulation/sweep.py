"""One parameter of a device model in several values: `percent=5,10,20`."""

from __future__ import annotations

from dataclasses import Field, dataclass, fields, replace
from typing import Any

from agent.errors import InputError
from device_models.contract import DeviceModel
from device_models.parameters import Value

MOST_VALUES = 64


@dataclass(frozen=True)
class Sweep:
    """The same model with several values of one of its parameters."""

    parameter: str
    values: tuple[Value, ...]
    models: tuple[DeviceModel, ...]
    """One for each value."""


def sweep(model: DeviceModel, text: str) -> Sweep:
    """What `PARAMETER=V1,V2,…` makes of a model.

    Raises:
        InputError: the model has no such parameter, it is no single value, or values repeat.
        DeviceModelError: a value is out of the parameter's range.
    """
    name, equals, listed = text.partition("=")
    name, words = name.strip(), [word.strip() for word in listed.split(",")]
    known = {spec.name: spec for spec in fields(model) if "counts" not in spec.metadata}
    if not equals or not all(words):
        raise InputError(
            f"--sweep {text[:60]} is not of the form PARAMETER=VALUE,VALUE,…, such as percent=5,10"
        )
    if name not in known:
        raise InputError(
            f"device model {model.kind} has no parameter {name[:40]!r} that can be swept; "
            f"it has: {', '.join(known) or 'none'}"
        )
    if len(words) > MOST_VALUES:
        raise InputError(f"--sweep names {len(words)} values, at most {MOST_VALUES} are allowed")
    values = tuple(_value(known[name], word) for word in words)
    if len(set(values)) < len(values):
        raise InputError(f"--sweep {text[:60]} names a value twice; give each once")
    return Sweep(name, values, tuple(replace(model, **{name: value}) for value in values))


def _value(spec: Field[Any], word: str) -> Value:
    facts = spec.metadata
    if "words" in facts:
        return word
    if facts["optional"] and word == "none":
        return None
    try:
        return int(word) if facts["whole"] else float(word)
    except ValueError as error:
        kind = "whole number" if facts["whole"] else "number"
        raise InputError(
            f"--sweep: {word[:40]!r} is no {kind}, and the parameter {spec.name} is one "
            f"(unit {facts['unit']})"
        ) from error
