"""The energy of an inference for a reader: an estimate, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.cli.table import Cell, table

_PARTS = (
    ("conversions_pj", "converters"),
    ("surrogate_pj", "surrogates"),
    ("shift_add_pj", "shift and add"),
    ("columns_pj", "columns"),
    ("drivers_pj", "drivers"),
)


def energy_facts(energy: Mapping[str, Any] | None, note: str | None) -> list[tuple[str, Cell]]:
    """Lines of a sheet: the whole, and where it goes; or why there is no estimate."""
    if energy is None:
        return [("energy", note)]
    whole = energy["total_pj"]
    figures = f"{whole / 1e6:.3g} µJ an inference, {energy['tops_per_watt']:.3g} TOPS/W"
    largest_first = sorted(_PARTS, key=lambda part: -energy[part[0]])
    parts = ", ".join(f"{name} {energy[key] / whole:.0%}" for key, name in largest_first)
    return [("energy", f"{figures} on {energy['device']} (estimate)"), ("spent on", parts)]


def energy_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """What each layer does in the array, and what that and its surrogate cost."""
    rows: list[list[Cell]] = [
        [
            layer["name"],
            layer["array_reads"],
            layer["conversions"],
            layer["main_pj"] / 1000,
            layer["surrogate_pj"] / 1000,
            f"{layer['energy_share']:.1%}",
        ]
        for layer in layers
    ]
    heads = ["layer", "array reads", "conversions", "array, nJ", "surrogate, nJ", "of all"]
    return table(heads, rows)


def constants_text(constants: Sequence[Mapping[str, Any]]) -> str:
    """Each constant with its node, meaning and source."""
    return "\n".join(
        f"{one['name']} = {one['value']}"
        + ("" if one["unit"] == "word" else f" {one['unit']}, {one['node']}")
        + f"\n    {one['meaning']}\n    source: {one['source']}"
        for one in constants
    )
