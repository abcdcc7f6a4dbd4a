"""Table of estimated energy over rank, converter bits and rows, beside published figures.

    NPP_DATA=DIR python tools/bench_energy.py [--out FILE.md]

Counts come from the shapes of MLPerf Tiny's ResNet-8 and keyword network, prices from
`device_models.energy.constants`. Nothing is measured, and nothing is said of accuracy. With --out
a picture of the same name is written beside the report.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench_report import markdown_table
from energy_grid import (
    ADC_BITS,
    RANKS,
    ROWS,
    Setting,
    energy_of,
    full_array,
    grid,
    square_layer,
    steps,
    uses_of,
)
from energy_picture import draw
from energy_published import MACROS
from energy_words import (
    CONSTANTS,
    INTRODUCTION,
    SQUARE,
    WALK,
    beside_words,
    conclusion,
    findings,
    needed,
)

from calib.decision import decision_graph
from calib.graph.linear import LinearLayer, linear_layers
from calib.importers import load_model
from device_models.energy.constants import (
    ARITHMETICS,
    FLOAT32,
    INT8,
    EnergyConstants,
    listed,
)

MODELS = {"ResNet-8": "resnet8_float.tflite", "keywords": "kws_float.tflite"}
SIZES = (64, 256, 1024, 4096)
BOTH = """\
Both: TOPS/W, and the surrogates' share of the energy. Surrogates in float32, as `inspect` has them
by default:"""
Layers = Sequence[LinearLayer]


def main_path(layers: Layers) -> str:
    """Counts and energy of the array, for rows and converters."""
    rows = []
    for setting in (one for one in grid(FLOAT32) if one.rank == 0):
        uses, found = uses_of(layers, setting), energy_of(layers, setting)
        parts = (found.drivers_pj, found.columns_pj, found.conversions_pj, found.shift_add_pj)
        rows.append(
            [
                str(setting.rows),
                str(setting.adc_bits),
                f"{uses.array_reads:,}",
                f"{uses.conversions:,}",
                *(f"{part / 1e6:.3g}" for part in (*parts, found.main_pj)),
            ]
        )
    head = ("rows", "ADC bits", "array reads", "conversions", "drivers", "columns", "converters")
    return markdown_table((*head, "shift-add", "array, µJ"), rows)


def surrogates(layers: Layers) -> str:
    """What surrogates cost, for each rank and arithmetic."""
    macs = sum(layer.multiply_accumulates for layer in layers)
    rows = []
    for rank in RANKS:
        found = [energy_of(layers, Setting(rank=rank, arithmetic=one)) for one in ARITHMETICS]
        per_mac = EnergyConstants().multiply_pj + EnergyConstants().add_pj
        share = found[0].low_rank_pj / per_mac / macs
        rows.append(
            [str(rank), f"{share:.1%}", *(f"{one.surrogate_pj / 1e6:.3g}" for one in found)]
        )
    head = ("rank", "low-rank MACs, of the network's", *(f"{one}, µJ" for one in ARITHMETICS))
    return markdown_table(head, rows)


def whole(layers: Layers, arithmetic: str) -> str:
    """TOPS/W and the surrogates' share of the energy, over the grid."""
    found = {(one.rows, one.adc_bits, one.rank): energy_of(layers, one) for one in grid(arithmetic)}
    rows = [
        [
            str(height),
            str(bits),
            *(
                f"{found[height, bits, rank].tops_per_watt:.3g}, "
                f"{found[height, bits, rank].surrogate_share:.0%}"
                for rank in RANKS
            ),
        ]
        for height in ROWS
        for bits in ADC_BITS
    ]
    return markdown_table(("rows", "ADC bits", *(f"rank {rank}" for rank in RANKS)), rows)


def network_section(name: str, layers: Layers) -> list[str]:
    """All tables of one network."""
    macs = sum(layer.multiply_accumulates for layer in layers)
    dense = sum(layer.groups == 1 for layer in layers)
    return [
        f"## {name}",
        f"{macs:,} multiply-accumulates; {len(layers)} layers, {dense} dense; codes of 8 bits.",
        "The array, all of it µJ an inference from `drivers` on:",
        main_path(layers),
        "The surrogates, gain and offset included:",
        surrogates(layers),
        BOTH,
        whole(layers, FLOAT32),
        "Surrogates in int8:",
        whole(layers, INT8),
    ]


def towards(layers: Layers) -> str:
    """The steps from the preset towards the published figure."""
    rows = []
    for name, setting, full in steps():
        found = full_array(setting) if full else energy_of(layers, setting)
        bits = setting.weight_bits * setting.input_bits
        rows.append(
            [
                name,
                f"{found.tops_per_watt:.3g}",
                f"{found.surrogate_share:.1%}",
                f"{found.tops_per_watt * bits:.3g}",
            ]
        )
    return markdown_table(("changed, one after the other", "TOPS/W", "surrogates", "x bits"), rows)


def sizes() -> str:
    """A square layer with rank 8: the larger, the less its surrogate matters."""
    rows = []
    for size in SIZES:
        setting = Setting(adc_bits=5)
        bare = full_array(replace(setting, rows=min(size, 256)))
        found = [square_layer(size, replace(setting, arithmetic=one)) for one in ARITHMETICS]
        cells = [f"{one.tops_per_watt:.3g}, {one.surrogate_share:.0%}" for one in found]
        share = 16 / size
        rows.append([f"{size}x{size}", f"{share:.1%}", *cells, f"{bare.tops_per_watt:.3g}"])
    head = ("layer", "low-rank MACs", *ARITHMETICS, "array alone, rows full")
    return markdown_table(head, rows)


def beside() -> str:
    """Published figures and ours."""
    rows = []
    for one in MACROS:
        ours = one.ours()
        ratio = "-" if ours is None else f"{one.tops_per_watt / ours:.2g}"
        shown = "-" if ours is None else f"{ours:.3g}"
        cells = [one.name, one.source, one.node, f"{one.tops_per_watt:.3g}", shown, ratio]
        rows.append([*cells, one.differs])
    head = ("figure", "source", "node", "TOPS/W", "ours", "ratio", "what differs")
    return markdown_table(head, rows)


def constants() -> str:
    """What it rests on."""
    rows = [
        [
            f"`{one.name}`",
            str(one.value) if one.unit == "word" else f"{one.value} {one.unit}",
            one.node,
            f"{one.meaning}; {one.source}",
        ]
        for one in listed(EnergyConstants())
    ]
    return markdown_table(("constant", "value", "node", "meaning; source"), rows)


def report(networks: Mapping[str, Layers], picture: str) -> str:
    """The whole document."""
    sections = [
        "# Energy: estimates over rank, converters and rows",
        INTRODUCTION,
        *(findings(name, layers) for name, layers in networks.items()),
        f"![TOPS/W over rank]({picture})",
        "## Beside published figures",
        beside_words(),
        beside(),
        "## What 464 TOPS/W would take",
        needed(),
        WALK,
        towards(networks["ResNet-8"]),
        SQUARE,
        sizes(),
        conclusion(networks["ResNet-8"]),
    ]
    for name, layers in networks.items():
        sections += network_section(name, layers)
    sections += ["## Constants", CONSTANTS, constants()]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Estimate everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the report here too, and its picture")
    asked = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models")
    folder = Path(os.environ["NPP_DATA"]) / "mlperf-tiny"
    networks = {
        name: linear_layers(decision_graph(load_model(folder / file)))
        for name, file in MODELS.items()
    }
    picture = asked.out.with_suffix(".png") if asked.out else Path("energy.png")
    text = report(networks, picture.name)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
        draw(networks, energy_of, picture)
    print(text)


if __name__ == "__main__":
    main()
