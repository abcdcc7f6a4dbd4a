"""`npp-agent devices`: the emulated chips that there are, with parameters, units and sources."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from agent.cli.common import emit, json_option
from agent.cli.table import Cell, pairs, table
from device_models.analog_periphery import Memory
from device_models.contract import DeviceModel
from device_models.parameters import Value, describe
from device_models.presets import Preset, presets
from device_models.registry import kind_of
from device_models.toml_file import annotated_toml, find_device


@click.command()
@click.argument("device", metavar="[DEVICE]", required=False)
@click.option(
    "--toml", "as_toml", is_flag=True, help="Print DEVICE as a TOML file, to be changed and given."
)
@json_option
def command(
    device: str | None,
    as_toml: bool,  # noqa: FBT001  # click passes flags by name
    as_json: bool,  # noqa: FBT001  # the same
) -> None:
    """List the emulated chips, or one with its parameters, units and sources.

    DEVICE is a preset, such as pcm or mismatch-15, or the path of a TOML file.
    """
    if as_toml and (device is None or as_json):
        raise click.UsageError("--toml takes one DEVICE, and no --json")
    shown = presets() if device is None else (found(device),)
    if as_toml:
        click.echo(annotated_toml(shown[0].model), nl=False)
        return
    document = {"devices": [_document(one) for one in shown]}
    text = _catalogue(shown) if device is None else _sheet(shown[0])
    emit(document, as_json=as_json, table=text)


def found(device: str) -> Preset:
    """The preset of a name, or a file's model as one.

    Raises:
        DeviceModelError: neither is there.
    """
    model = find_device(device)
    for one in presets():
        if one.name == device:
            return one
    alike = [one for one in presets() if one.model.kind == model.kind]
    in_tiles = _has_periphery(model)
    similar = next((one for one in alike if _has_periphery(one.model) == in_tiles), alike[0])
    own = ", in tiles with converters" if in_tiles and not _has_periphery(similar.model) else ""
    return Preset(device, model, f"as {similar.name}: {similar.summary}{own}", similar.source)


def _has_periphery(model: DeviceModel) -> bool:
    """Whether a memory is more than one product."""
    return isinstance(model, Memory) and model.periphery is not None


def _document(one: Preset) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.model.kind,
        "summary": one.summary,
        "source": one.source,
        "validity": asdict(kind_of(one.model).holds_for(one.model)),
        "parameters": [asdict(entry) for entry in describe(one.model)],
    }


def _catalogue(shown: tuple[Preset, ...]) -> str:
    rows: list[list[Cell]] = [[one.name, one.summary] for one in shown]
    return table(["device", "what is wrong with it"], rows)


def _sheet(one: Preset) -> str:
    """One device: what it is, where it holds, and each parameter with meaning and source."""
    facts = pairs(
        [
            ("device", one.name),
            ("kind", one.model.kind),
            ("what", one.summary),
            ("source", one.source),
            ("holds for", _holds(one.model)),
        ]
    )
    entries = [
        f"{entry.name} = {_shown(entry.value)}  {entry.unit}\n    {entry.meaning}\n"
        f"    source: {entry.source}"
        for entry in describe(one.model)
    ]
    return "\n\n".join([facts, *entries])


def _holds(model: DeviceModel) -> str | None:
    validity = kind_of(model).holds_for(model)
    parts = []
    if validity.longest_age_s is not None:
        parts.append(f"ages up to {validity.longest_age_s:g} s")
    if validity.least_c is not None:
        parts.append(f"{validity.least_c:g} to {validity.most_c:g} °C")
    if validity.least_v is not None:
        parts.append(f"{validity.least_v:g} to {validity.most_v:g} V")
    return ", ".join(parts) or None


def _shown(value: Value) -> str:
    match value:
        case None:
            return "none"
        case tuple():
            return f"[{', '.join(f'{inner:g}' for inner in value)}]"
        case float():
            return f"{value:g}"
    return str(value)
