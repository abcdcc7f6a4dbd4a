"""`npp-agent inspect`: what is in a bundle, and what it costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from agent.cli.budget import budget_text
from agent.cli.common import FILE, emit, json_option
from agent.cli.energy import constants_text, energy_facts, energy_table
from agent.cli.levels import levels_text
from agent.cli.references import references_text
from agent.cli.table import Cell, pairs, table
from agent.cli.units import bytes_text, scheme_text
from agent.inspection import PRICED_CHIP, inspection_document
from agent.store.bundle import Bundle, open_bundle
from agent.store.package import read_package
from device_models.energy.constants import ARITHMETICS, FLOAT32


@click.command()
@click.argument("bundle", metavar="FILE.npp", type=FILE)
@click.option(
    "--chip",
    default=PRICED_CHIP,
    show_default=True,
    help="Whose energy is estimated: a preset, or a TOML file.",
)
@click.option(
    "--arithmetic",
    type=click.Choice(ARITHMETICS),
    default=FLOAT32,
    show_default=True,
    help="What the surrogates are taken to compute in.",
)
@click.option(
    "--constants",
    is_flag=True,
    help="List what the energy rests on: figures, sources, technology nodes.",
)
@json_option
def command(
    bundle: Path,
    chip: str,
    arithmetic: str,
    constants: bool,  # noqa: FBT001  # click passes flags by name
    as_json: bool,  # noqa: FBT001  # the same
) -> None:
    """Say what is in a bundle: layers, scheme, bytes by part, operations, energy."""
    opened = open_bundle(bundle)
    document = inspection_document(read_package(opened), chip, arithmetic)
    document["packed_by"] = str(opened.document.get("packed_by"))
    document |= {"bundle_id": opened.id, "bytes": len(opened.data), "parts": _parts(opened)}
    emit(document, as_json=as_json, table=report(document, constants=constants))


def _parts(bundle: Bundle) -> dict[str, int]:
    """Bytes by the first word of the parts' names; the rest is the archive itself."""
    sizes: Counter[str] = Counter()
    for name, part in bundle.parts.items():
        sizes[name.removesuffix(".npy").split("/")[0]] += part.bytes
    sizes["manifest and archive"] = len(bundle.data) - sizes.total()
    return dict(sizes.most_common())


def report(document: dict[str, Any], *, constants: bool = False) -> str:
    """The document for a reader."""
    mixed = any(layer["levels"] for layer in document["layers"])
    computed = any(layer["computed_as"] for layer in document["layers"])
    rows: list[list[Cell]] = [
        [
            layer["name"],
            layer["op"],
            f"{layer['inputs']}x{layer['outputs']}",
            layer["groups"],
            layer["positions"],
            layer["bits_mean"],
            *([levels_text(layer["levels"])] if mixed else []),
            *([layer["computed_as"]] if computed else []),
            layer["bytes"],
        ]
        for layer in document["layers"]
    ]
    columns = ["layer", "op", "weights", "groups", "positions", "bits"]
    more = [*(["channels x bits"] if mixed else []), *(["computed"] if computed else [])]
    layers = table([*columns, *more, "bytes"], rows)
    parts = table(["part", "bytes"], [[name, size] for name, size in document["parts"].items()])
    sections = [_facts(document), layers]
    if document["energy"]:
        sections += [energy_table(document["layers"])]
    sections += [parts]
    if constants and document["energy"]:
        sections += [constants_text(document["energy"]["constants"])]
    return "\n\n".join(sections)


def _facts(document: dict[str, Any]) -> str:
    share, left = document["surrogate_mac_share"], document["uncorrected"]
    limit = bytes_text(document["surrogate_bytes"])
    return pairs(
        [
            ("model", document["model"]),
            ("scheme", scheme_text(document["scheme"], document["activation_bits"])),
            ("runtime", document["runtime"]),
            (
                "budget",
                f"{budget_text(document['budget'])}: at most {limit} of factors",
            ),
            *([("uncorrected", ", ".join(left) + ", in float")] if left else []),
            ("size", bytes_text(document["bytes"])),
            ("references", references_text(document["references"])),
            ("operations", f"{document['multiply_accumulates']:,} multiply-accumulates"),
            ("surrogate", f"about {share:.1%} of these on top, once calibrated"),
            ("bit operations", f"{document['ebops']:,.0f}"),
            *energy_facts(document["energy"], document["energy_note"]),
            ("ranges", document["ranges"]["method"]),
            ("packed by", document["packed_by"]),
        ]
    )
