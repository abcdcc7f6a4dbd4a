"""What `bench_energy` says beside its tables; every figure in a sentence is computed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from energy_grid import COLUMNS, ROWS, Setting, array_alone, energy_of, full_array, rank_of, uses_of

from agent.energy import surrogate_counts
from calib.graph.linear import LinearLayer
from device_models.energy.constants import FLOAT32, INT8, EnergyConstants
from device_models.energy.estimate import PUBLISHED_TOPS_PER_WATT
from device_models.sram.charge_sram import ChargeSram

Layers = Sequence[LinearLayer]

INTRODUCTION = """\
Computed by `tools/bench_energy.py` from the shapes of the networks and published constants. Nothing
here is measured, and nothing is said of accuracy: what coarse converters cost there is another
matter. The array is the preset `sram-bitplane` with the rows and converters named. A
multiply-accumulate of the main path is two operations; the energy is that of main path and
surrogates. A rank is the same in every dense layer, as far as a layer goes; grouped layers have
gain and offset alone. (A calibration spends a budget where it pays, so that its surrogates differ.)

Left out: memory for activations and factors, control, clock, leakage, references of converters, the
scaling of sums, the writing of weights. Columns are an upper bound, charged by the whole supply
each time."""

CLAIM = """\
The published 464 TOPS/W are set beside these figures here, and not reproduced: they are simulated,
and their break-down is not public."""

WALK = """\
ResNet-8, one change after the other; `x bits` is the figure times the bits of weights and of
inputs, as 1-bit operations are counted:"""

SQUARE = """\
A square layer with rank 8, 256 rows, converters of 5 bits, codes of 8 bits: TOPS/W, and the
surrogate's share of the energy:"""

CONSTANTS = """\
`npp-agent inspect --constants` lists the same. The nodes are mixed, and nothing is scaled from one
to another: the fitted polynomials that are published for that (Stillmaker and Baas, Integration
2017) are not built in."""


def filled(text: str) -> str:
    """A paragraph in lines of the width of these documents."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def findings(name: str, layers: Layers) -> str:
    """What a network's tables say."""
    wide, narrow = Setting(), Setting(arithmetic=INT8)
    shares = [energy_of(layers, one).surrogate_share for one in (wide, narrow)]
    found = energy_of(layers, wide)
    few, many = (uses_of(layers, Setting(rows=rows)).conversions / 1e6 for rows in ROWS[::2])
    saved = (
        "No layer has more than 64 inputs, so that longer columns only cost."
        if few == many
        else f"64 rows take {few:.1f} million conversions, 256 rows {many:.1f} million."
    )
    return filled(
        f"**{name}**, 256 rows, converters of 8 bits, rank 8 in float32: "
        f"{found.total_pj / 1e6:.3g} µJ, {found.tops_per_watt:.3g} TOPS/W. Surrogates take "
        f"{shares[0]:.0%} of the energy, in int8 {shares[1]:.0%}; converters take "
        f"{found.conversions_pj / found.main_pj:.0%} of the array's. {saved}"
    )


def beside_words() -> str:
    """How published figures compare."""
    shares = []
    for bits in (4, 6, 8):
        found = array_alone(ChargeSram(adc_bits=bits), 8, 8)
        shares.append(f"{found.conversions_pj / found.total_pj:.0%} with {bits} bits")
    first = filled(
        "Ours is an array all of whose rows are used, without surrogates, with the constants below "
        "at the supply named or else 0.9 V, and not scaled to the node. `ratio` is published over "
        "ours. The macros of 28 and 65 nm are within an order of magnitude, on both sides of ours. "
        "MF-Net is not: if bits add instead of multiplying, 16 planes are read in place of 64, "
        "which would explain a factor of four; the rest we cannot account for."
    )
    second = filled(
        f"Converters take {', '.join(shares)} of the energy of a charge-domain array of 256 rows. "
        "In 11 SRAM macros published from 2020 to 2024 they take 16 to 61 % (the survey of arXiv "
        "2507.09776, in its public code), so that ours are rather dear, or the rest too cheap."
    )
    return f"{CLAIM}\n\n{first}\n\n{second}"


def needed() -> str:
    """What 464 TOPS/W leaves for one reading of a column."""
    setting = Setting()
    found = full_array(setting)
    reads = setting.weight_bits * setting.input_bits
    budget = 2 * setting.rows / reads / PUBLISHED_TOPS_PER_WATT * 1000
    column, each = (one / (COLUMNS * reads) * 1000 for one in (found.columns_pj, found.total_pj))
    mac = 2000 / PUBLISHED_TOPS_PER_WATT
    costs = [EnergyConstants(surrogate_arithmetic=one) for one in (INT8, FLOAT32)]
    narrow, wide = (1000 * (one.multiply_pj + one.add_pj) for one in costs)
    return filled(
        f"464 TOPS/W are {mac:.2g} fJ for a multiply-accumulate, with all that belongs to it. With "
        f"256 rows and 8 x 8 planes that leaves {budget:.2g} fJ for each reading of a column; our "
        f"constants ask for {each:.0f} fJ with 8-bit converters, and charging the bit line alone "
        f"takes {column:.0f} fJ. A multiply-accumulate of the surrogates takes {narrow:.0f} fJ in "
        f"int8 and {wide:.0f} fJ in float32, so that they could be at most {mac / narrow:.1%} and "
        f"{mac / wide:.2%} of the network's, if the array took nothing."
    )


def conclusion(layers: Layers) -> str:
    """Whether the published figure can be reached."""
    five, four = Setting(adc_bits=5), Setting(adc_bits=5, weight_bits=4, input_bits=4)
    eight_bits, four_bits = (full_array(one).tops_per_watt for one in (five, four))
    macs = sum(layer.multiply_accumulates for layer in layers)
    low_rank = sum(surrogate_counts(layer, rank_of(layer, 8)).low_rank for layer in layers)
    return filled(
        "So our model does not reach 464 TOPS/W with codes of 8 or 4 bits, whatever the rank: with "
        f"converters of 5 bits the array alone, all rows full, has {eight_bits:.3g} and "
        f"{four_bits:.3g}. Counted as 1-bit operations it has {64 * eight_bits:.0f}: the "
        "published figure is of the size of figures counted that way. Whether it is one cannot be "
        "known from what is public. Surrogates are no obstacle where layers are large: beside "
        f"4096x4096 rank 8 is {16 / 4096:.1%} of the multiply-accumulates, in ResNet-8 "
        f"{low_rank / macs:.0%}."
    )
