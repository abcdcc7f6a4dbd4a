"""`npp-agent devices`: the emulated chips that there are, with parameters, units and sources."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import fill
from typing import Any

import click

from agent.cli.common import emit, json_option
from agent.cli.installed import warn
from agent.cli.table import WIDTH, Cell, pairs, table
from agent.simulation.ages import age_text
from device_models.contract import DeviceModel
from device_models.memories.analog_periphery import Memory
from device_models.parameters import Value, describe
from device_models.plugins import plugin_devices
from device_models.presets import Preset, is_ours, presets
from device_models.registry import kind_of
from device_models.toml_file import annotated_toml, find_device, names_file


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
    """List the chips that are known, or one with its parameters, units and sources.

    DEVICE is a preset, such as pcm or mismatch-15, or the path of a TOML file.
    """
    if as_toml and (device is None or as_json):
        raise click.UsageError("--toml takes one DEVICE, and no --json")
    shown, origins = _all() if device is None else _one(device)
    if as_toml:
        click.echo(annotated_toml(shown[0].model), nl=False)
        return
    named = zip(shown, origins, strict=True)
    document = {"devices": [{**_document(one), "plugin": origin} for one, origin in named]}
    text = _catalogue(shown) if device is None else _sheet(shown[0], origins[0])
    emit(document, as_json=as_json, table=text)


def _all() -> tuple[tuple[Preset, ...], tuple[str | None, ...]]:
    """Every preset, ours and those of plugins, and the plugin of each; warns of what is broken."""
    brought = plugin_devices()
    for problem in brought.problems:
        warn(problem)
    ours = presets()
    return (*ours, *brought.presets), (*(None for _ in ours), *brought.origins)


def _one(device: str) -> tuple[tuple[Preset, ...], tuple[str | None, ...]]:
    """The preset of a name, or a file's model as one, and its plugin.

    Raises:
        DeviceModelError: neither is there.
    """
    model = find_device(device)
    known: list[tuple[Preset, str | None]] = [(one, None) for one in presets()]
    ours = {one.model.kind for one, _ in known}
    if not (is_ours(device) or (names_file(device) and model.kind in ours)):
        brought = plugin_devices()
        known += zip(brought.presets, brought.origins, strict=True)
    exact = [pair for pair in known if pair[0].name == device]
    if exact:
        return (exact[0][0],), (exact[0][1],)
    alike = [pair for pair in known if pair[0].model.kind == model.kind]
    if not alike:  # a plugin registered the kind, and its preset is broken
        return (Preset(device, model, f"of kind {model.kind}", "a plugin"),), (None,)
    in_tiles = _has_periphery(model)
    nearest = [pair for pair in alike if _has_periphery(pair[0].model) == in_tiles]
    similar, origin = (nearest or alike)[0]
    own = ", in tiles with converters" if in_tiles and not nearest else ""
    summary = f"as {similar.name}: {similar.summary}{own}"
    return (Preset(device, model, summary, similar.source),), (origin,)


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


def _sheet(one: Preset, plugin: str | None) -> str:
    """One device: what it is, where it holds, and each parameter with meaning and source."""
    facts = pairs(
        [
            ("device", one.name),
            ("kind", one.model.kind),
            ("what", one.summary),
            ("source", one.source),
            *([] if plugin is None else [("plugin", plugin)]),
            ("holds for", _holds(one.model)),
        ]
    )
    entries = [
        "\n".join(
            [
                f"{entry.name} = {_shown(entry.value)}  {entry.unit}",
                _indented(entry.meaning),
                _indented(f"source: {entry.source}"),
            ]
        )
        for entry in describe(one.model)
    ]
    return "\n\n".join([facts, *entries])


def _indented(text: str) -> str:
    return fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ")


def _holds(model: DeviceModel) -> str | None:
    validity = kind_of(model).holds_for(model)
    parts = []
    if validity.longest_age_s is not None:
        parts.append(f"ages up to {age_text(validity.longest_age_s)}")
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
