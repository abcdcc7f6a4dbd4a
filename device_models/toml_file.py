"""Device models as TOML: a kind and all of its parameters, nothing more and nothing less.

    kind = "mismatch"
    percent = 10.0

A parameter that may be absent from the hardware is written as "none"; the constants of a formula
are an array. A part that a model may have or not, such as the periphery of a memory, is a table:

    kind = "pcm"
    ...
    [periphery]
    rows = 256
    ...
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any

from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError
from device_models.parameters import Parameters, Value, check, own_fields, part_fields
from device_models.presets import ANY_MISMATCH, is_ours, preset, preset_names
from device_models.registry import Kind, kinds

LARGEST_FILE_BYTES = 65_536
MOST_NAMED = 40
"""Parameters that one sentence names."""


def load_device(source: str | os.PathLike[str]) -> DeviceModel:
    """Read a device model.

    Args:
        source: The path of a TOML file; or the text itself, a `str` with an equals sign or a
            line break in it.

    Raises:
        DeviceModelError: no file, no TOML, an unknown kind, an unknown or missing parameter, or
            a value out of range.
    """
    if isinstance(source, str) and ("=" in source or "\n" in source):
        return _parse(source, "the device description")
    return _parse(_read(Path(source)), str(source))


def find_device(name: str) -> DeviceModel:
    """The preset of a name, or the device model in the TOML file of that name.

    Raises:
        DeviceModelError: neither is there, or the file is no device description.
    """
    return load_device(Path(name)) if names_file(name) else preset(name)


def names_file(name: str) -> bool:
    """Whether a device's name is the path of a TOML file."""
    return name.endswith(".toml") or os.sep in name


def to_toml(model: DeviceModel) -> str:
    """A model as TOML that `load_device` reads back to the same model."""
    lines = [f'kind = "{model.kind}"', *map(_line, *_own(model))]
    for name, inner in _parts(model):
        lines += ["", f"[{name}]", *map(_line, *_own(inner))]
    return "\n".join(lines) + "\n"


def annotated_toml(model: DeviceModel) -> str:
    """The same with unit and meaning above each parameter, for a person to change."""
    lines = [f'kind = "{model.kind}"', *_annotated(model)]
    for name, inner in _parts(model):
        lines += ["", f"[{name}]", *_annotated(inner)]
    return "\n".join(lines) + "\n"


def _own(model: Parameters) -> tuple[tuple[Field[Any], ...], list[Value]]:
    """The parameters of a model, and their values."""
    specs = own_fields(model)
    return specs, [getattr(model, spec.name) for spec in specs]


def _parts(model: DeviceModel) -> list[tuple[str, Parameters]]:
    """The parts that a model has, by name."""
    named = ((spec.name, getattr(model, spec.name)) for spec in part_fields(model))
    return [(name, inner) for name, inner in named if inner is not None]


def _annotated(model: Parameters) -> list[str]:
    lines = []
    for spec, value in zip(*_own(model), strict=True):
        facts = spec.metadata
        unit = "" if facts["unit"] in {"1", "word"} else f" [{facts['unit']}]"
        choices = f": {', '.join(facts['words'])}" if "words" in facts else ""
        lines += ["", f"# {facts['meaning']}{unit}{choices}", _line(spec, value)]
    return lines


def _line(spec: Field[Any], value: Value) -> str:
    return f"{spec.name} = {_written(value, spec.metadata)}"


def _written(value: Value, facts: Mapping[str, Any]) -> str:
    match value:
        case None:
            return '"none"'
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(repr(float(inner)) for inner in value)}]"
    return str(value) if facts["whole"] else repr(float(value))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else _reason(error)
        raise DeviceModelError(
            f"cannot read the device description {path}: {reason}; give a TOML file "
            f"or one of the presets {', '.join(preset_names())}"
        ) from error
    if len(content) > LARGEST_FILE_BYTES:
        raise DeviceModelError(
            f"{path} is larger than {LARGEST_FILE_BYTES} bytes; this is no device description"
        )
    return text


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _parse(text: str, where: str) -> DeviceModel:
    import tomllib  # noqa: PLC0415 - most chips are presets

    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DeviceModelError(f"{where} is no valid TOML: {reason}") from error
    return _build(table, where)


def _build(table: dict[str, Any], where: str) -> DeviceModel:
    kind = _kind(table.pop("kind", None), where)
    parts = {
        spec.name: _part(table.pop(spec.name), spec, where)
        for spec in part_fields(kind.model)
        if spec.name in table
    }
    own = _arguments(table, kind.model, where, f"for kind {kind.name}")
    try:
        model = kind.model(**own, **parts)
        check(model)  # a plugin's model may not do so itself
    except DeviceModelError as error:
        raise DeviceModelError(f"{where}: {error}") from error
    return model


def _kind(name: object, where: str) -> Kind:
    """The kind that a file names, ours or a plugin's."""
    problems: tuple[str, ...] = ()
    if isinstance(name, str) and name not in kinds():
        from device_models.plugins import seek_kind  # noqa: PLC0415 - seldom needed

        problems = seek_kind(name)
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is not None:
        return kind
    said = "kind is missing" if name is None else f"kind is {repr(name)[:40]}"
    hint = _hint(name) if isinstance(name, str) else ""
    known = ", ".join(repr(one) for one in sorted(kinds()))
    raise DeviceModelError("; ".join([f"{where}: {said}{hint}", f"give one of {known}", *problems]))


def _hint(kind: str) -> str:
    """What an unknown kind may have been meant for."""
    if is_ours(kind) and kind != ANY_MISMATCH:
        return f" (a preset, whose kind is {preset(kind).kind!r})"
    return _meant(kind, kinds())


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _part(value: object, spec: Field[Any], where: str) -> Parameters:
    """A part of a model from its table."""
    name = spec.name
    if not isinstance(value, dict):
        raise DeviceModelError(
            f"{where}: {name} is {str(value)[:40]!r}; give a table [{name}] with its parameters"
        )
    model = spec.metadata["part"]
    own = _arguments(value, model, where, f"for the table [{name}]", f"{name}.")
    try:
        made: Parameters = model(**own)
    except DeviceModelError as error:
        raise DeviceModelError(f"{where}: {error}") from error
    return made


def _arguments(
    table: dict[str, Any], model: type[Parameters], where: str, named: str, prefix: str = ""
) -> dict[str, Any]:
    """What a model is made of, from what a file says: all of its parameters, and no others."""
    known = {spec.name: spec for spec in own_fields(model)}
    tables = "".join(f" and, if wanted, a table [{spec.name}]" for spec in part_fields(model))
    unknown = [repr(prefix + key)[:60] + _meant(key, known) for key in table if key not in known]
    missing = [repr(prefix + key)[:60] for key in known if key not in table]
    for what, keys in (("unknown", unknown), ("missing", missing)):
        if keys:
            more = [f"and {len(keys) - MOST_NAMED} more"] if len(keys) > MOST_NAMED else []
            raise DeviceModelError(
                f"{where}: {what} {', '.join([*keys[:MOST_NAMED], *more])} {named}; "
                f"its parameters are: {', '.join(known) or 'none'}{tables}"
            )
    return {key: _read_value(value, known[key].metadata) for key, value in table.items()}


def _read_value(value: object, facts: Mapping[str, Any]) -> object:
    if value == "none" and facts["optional"]:
        return None
    if isinstance(value, list) and "counts" in facts:
        return tuple(value)
    return value
