"""One parameter of a device model in several values: `percent=5,10,20`."""

from __future__ import annotations

from dataclasses import Field, dataclass, replace
from typing import Any

from agent.errors import InputError
from device_models.contract import DeviceModel
from device_models.parameters import Value, own_fields, part_fields

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
    known = _single_values(model)
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
    return Sweep(name, values, tuple(_changed(model, name, value) for value in values))


def _single_values(model: DeviceModel) -> dict[str, Field[Any]]:
    """The parameters that are one value each; those of a part as `periphery.adc_bits`."""
    known = {spec.name: spec for spec in own_fields(model)}
    for part in part_fields(model):
        inner = getattr(model, part.name)
        if inner is not None:
            known |= {f"{part.name}.{spec.name}": spec for spec in own_fields(inner)}
    return {name: spec for name, spec in known.items() if "counts" not in spec.metadata}


def _changed(model: DeviceModel, name: str, value: Value) -> DeviceModel:
    part, _, inner = name.rpartition(".")
    if not part:
        return replace(model, **{name: value})
    held: Any = getattr(model, part)
    return replace(model, **{part: replace(held, **{inner: value})})


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
