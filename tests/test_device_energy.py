"""Counts against an array walked through by hand, and the energy they add up to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import ArrayWeights
from device_models.bitplane import BitPlaneSram
from device_models.counts import Counts, counts, total
from device_models.energy import EnergyConstants, estimate
from device_models.errors import DeviceModelError

MODEL = BitPlaneSram(rows=4, adc_bits=3)


def weights_of(
    groups: int,
    inputs: int,
    outputs: int,
    bits: int = 8,
    block_rows: int | None = None,
    codebook: NDArray[np.float32] | None = None,
) -> ArrayWeights:
    block_rows = block_rows or inputs
    return ArrayWeights(
        np.zeros((groups, inputs, outputs), np.int8),
        np.ones((groups, -(-inputs // block_rows), outputs), np.float32),
        block_rows,
        bits,
        codebook,
    )


def test_counts_of_a_walk_through_the_array() -> None:
    groups, inputs, outputs, bits, input_bits, positions = 2, 10, 3, 5, 6, 7
    walked = dict.fromkeys(("reads", "conversions", "drives", "cells"), 0)
    for _ in range(positions * groups):
        for tile in ((0, 4), (4, 8), (8, 10)):
            for _input_plane in range(input_bits):
                walked["drives"] += tile[1] - tile[0]
                walked["reads"] += bits
                walked["conversions"] += bits * outputs
                walked["cells"] += (tile[1] - tile[0]) * bits * outputs
    found = counts(MODEL, weights_of(groups, inputs, outputs, bits), input_bits, positions)
    assert found == Counts(
        multiply_accumulates=positions * groups * inputs * outputs,
        row_drives=walked["drives"],
        driven_cells=walked["cells"],
        array_reads=walked["reads"],
        conversions=walked["conversions"],
    )


def test_blocks_cut_tiles_and_codebooks_take_eight_planes() -> None:
    one = counts(MODEL, weights_of(1, 8, 1, 4), 1, 1)
    blocked = counts(MODEL, weights_of(1, 8, 1, 4, block_rows=3), 1, 1)
    assert (one.array_reads, blocked.array_reads) == (2 * 4, 3 * 4)
    book = np.zeros(16, np.float32)
    assert counts(MODEL, weights_of(1, 8, 1, 4, codebook=book), 1, 1).array_reads == 2 * 8


def test_total_adds_layers() -> None:
    a, b = Counts(1, 2, 3, 4, 5), Counts(10, 20, 30, 40, 50)
    assert total([a, b]) == Counts(11, 22, 33, 44, 55)
    assert total([]) == Counts()


def test_energy_of_round_figures() -> None:
    cost = EnergyConstants(
        supply_v=2.0,
        cell_ff=1.0,
        column_ff=6.0,
        adc_fj_per_step=500.0,
        shift_add_pj=3.0,
        mac_pj=7.0,
    )
    uses = Counts(
        multiply_accumulates=1000, row_drives=9, driven_cells=250, array_reads=5, conversions=100
    )
    energy = estimate(MODEL, uses, 10, cost)
    assert energy.word_lines_pj == pytest.approx(250 * 1.0 * 4 / 1000)
    assert energy.bit_lines_pj == pytest.approx(100 * (4 * 1.0 + 6.0) * 4 / 1000)
    assert energy.conversions_pj == pytest.approx(100 * 0.5 * 8)
    assert energy.shift_add_pj == pytest.approx(300)
    assert energy.surrogate_pj == pytest.approx(70)
    assert energy.total_pj == pytest.approx(1.0 + 4.0 + 400 + 300 + 70)
    assert energy.tops_per_watt == pytest.approx(2000 / 775)


def test_a_finer_converter_costs_twice_as_much_for_each_bit() -> None:
    uses = counts(MODEL, weights_of(1, 16, 8), 8, 10)
    coarse, fine = (estimate(replace(MODEL, adc_bits=bits), uses, 0) for bits in (4, 5))
    assert fine.conversions_pj == pytest.approx(2 * coarse.conversions_pj)
    assert fine.tops_per_watt < coarse.tops_per_watt
    assert estimate(MODEL, Counts(), 0).tops_per_watt == 0


def test_no_price_without_a_converter() -> None:
    with pytest.raises(DeviceModelError, match="adc_bits"):
        estimate(replace(MODEL, adc_bits=None), Counts(), 0)
