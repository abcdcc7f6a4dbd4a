"""Counts against an array walked through by hand, and the energy they add up to."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights
from device_models.energy.constants import (
    ARITHMETICS,
    FLOAT16,
    FLOAT32,
    INT8,
    WALDEN,
    EnergyConstants,
    listed,
)
from device_models.energy.counts import Counts, SurrogateCounts, counts, total
from device_models.energy.estimate import Energy, conversion_pj, estimate, total_energy
from device_models.errors import DeviceModelError
from device_models.presets import preset
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.charge_sram import ChargeSram
from device_models.sram.current_model import CurrentSram
from device_models.sram.periphery import Periphery

MODEL = BitPlaneSram(rows=4, adc_bits=3)
ROUND = EnergyConstants(
    supply_v=2.0,
    word_line_ff=1.0,
    driver_ff_per_bit=10.0,
    bit_line_ff=1.5,
    column_ff=6.0,
    adc_fj_per_bit=200.0,
    adc_aj=1e4,
    float32_multiply_pj=7.0,
    float32_add_pj=2.0,
    int32_add_pj=3.0,
)
USES = Counts(
    multiply_accumulates=1000,
    row_drives=9,
    driven_cells=250,
    array_reads=5,
    conversions=100,
    sums=80,
)
PATH = SurrogateCounts(low_rank=10, gains=4, offsets=3)
PARTS = tuple(spec.name for spec in fields(Energy) if spec.name.endswith("_pj"))


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


@pytest.mark.parametrize("model", [BitPlaneSram, CurrentSram, ChargeSram])
@pytest.mark.parametrize(("dac_bits", "cycles"), [(1, 6), (2, 3), (4, 2), (8, 1)])
@pytest.mark.parametrize("reads", [1, 3])
def test_counts_of_a_walk_through_the_array(
    model: type[Periphery], dac_bits: int, cycles: int, reads: int
) -> None:
    groups, inputs, outputs, bits, input_bits, positions = 2, 10, 3, 5, 6, 7
    device = model(rows=4, dac_bits=dac_bits, reads=reads)
    walked = dict.fromkeys(("reads", "conversions", "drives", "cells", "sums"), 0)
    for _ in range(positions * groups):
        for tile in ((0, 4), (4, 8), (8, 10)):
            for _cycle in range(cycles):
                for _vote in range(reads):
                    walked["drives"] += tile[1] - tile[0]
                    walked["reads"] += bits
                    walked["conversions"] += bits * outputs
                    walked["cells"] += (tile[1] - tile[0]) * bits * outputs
                walked["sums"] += bits * outputs
    found = counts(device, weights_of(groups, inputs, outputs, bits), input_bits, positions)
    assert found == Counts(
        multiply_accumulates=positions * groups * inputs * outputs,
        row_drives=walked["drives"],
        driven_cells=walked["cells"],
        array_reads=walked["reads"],
        conversions=walked["conversions"],
        sums=walked["sums"],
    )


def test_blocks_cut_tiles_and_codebooks_take_eight_planes() -> None:
    one = counts(MODEL, weights_of(1, 8, 1, 4), 1, 1)
    blocked = counts(MODEL, weights_of(1, 8, 1, 4, block_rows=3), 1, 1)
    assert (one.array_reads, blocked.array_reads) == (2 * 4, 3 * 4)
    book = np.zeros(16, np.float32)
    assert counts(MODEL, weights_of(1, 8, 1, 4, codebook=book), 1, 1).array_reads == 2 * 8


def test_total_adds_layers() -> None:
    a, b = Counts(1, 2, 3, 4, 5, 6), Counts(10, 20, 30, 40, 50, 60)
    assert total([a, b]) == Counts(11, 22, 33, 44, 55, 66)
    assert total([]) == Counts()
    one = estimate(MODEL, USES, PATH, ROUND)
    assert total_energy([one, one]).total_pj == pytest.approx(2 * one.total_pj)
    assert total_energy([one, one]).tops_per_watt == pytest.approx(one.tops_per_watt)


def test_energy_of_round_figures() -> None:
    energy = estimate(MODEL, USES, PATH, ROUND)
    assert energy.drivers_pj == pytest.approx(250 * 1.0 * 4 / 1000)
    assert energy.columns_pj == pytest.approx(100 * (4 * 1.5 + 6.0) * 4 / 1000)
    assert energy.conversions_pj == pytest.approx(100 * (3 * 0.2 + 64 * 0.01))
    assert energy.shift_add_pj == pytest.approx(80 * 3)
    assert energy.low_rank_pj == pytest.approx(10 * 9)
    assert energy.gain_offset_pj == pytest.approx(4 * 9 + 3 * 2)
    whole = 1.0 + 4.8 + 124 + 240 + 90 + 42
    assert energy.total_pj == pytest.approx(whole)
    assert energy.main_pj + energy.surrogate_pj == pytest.approx(whole)
    assert energy.surrogate_share == pytest.approx(132 / whole)
    assert energy.tops_per_watt == pytest.approx(2000 / whole)
    document = energy.document()
    assert {*PARTS, "total_pj", "surrogate_pj", "tops_per_watt"} <= set(document)


def test_drivers_of_several_bits_cost_by_the_bit() -> None:
    plain = estimate(MODEL, USES, PATH, ROUND).drivers_pj
    several = estimate(replace(MODEL, dac_bits=4), USES, PATH, ROUND).drivers_pj
    assert several - plain == pytest.approx(9 * 10.0 * 4 * 4 / 1000)


def test_charge_domain_columns_are_their_capacitors_at_their_own_supply() -> None:
    device = ChargeSram(
        rows=100, capacitor_ff=2.0, parasitic_per_cell=0.3, parasitic_ff=4.0, supply_v=0.5
    )
    energy = estimate(device, USES)
    assert energy.columns_pj == pytest.approx(100 * (200 + 60 + 4.0) * 0.25 / 1000)
    halved = estimate(CurrentSram(supply_v=0.45, threshold_v=0.2), USES)
    assert 4 * halved.columns_pj == pytest.approx(estimate(CurrentSram(), USES).columns_pj)


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("word_line_ff", "driver_ff_per_bit"), "drivers_pj"),
        (("bit_line_ff", "column_ff"), "columns_pj"),
        (("adc_fj_per_bit", "adc_aj"), "conversions_pj"),
        (("float32_multiply_pj", "float32_add_pj"), "low_rank_pj"),
        (("float32_multiply_pj", "float32_add_pj"), "gain_offset_pj"),
        (("int32_add_pj",), "shift_add_pj"),
    ],
)
@given(factor=st.floats(0.0, 100.0))
def test_energy_is_linear_in_its_constants(
    names: tuple[str, ...], part: str, factor: float
) -> None:
    device = replace(MODEL, dac_bits=2)
    before = estimate(device, USES, PATH, ROUND)
    scaled = replace(ROUND, **{name: factor * getattr(ROUND, name) for name in names})
    after = estimate(device, USES, PATH, scaled)
    shared = {"low_rank_pj", "gain_offset_pj"}
    changed = shared if part in shared else {part}
    for name in PARTS:
        expected = getattr(before, name) * (factor if name in changed else 1)
        assert getattr(after, name) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_energy_is_linear_in_uses_and_quadratic_in_the_supply() -> None:
    doubled = Counts(*(2 * getattr(USES, spec.name) for spec in fields(Counts)))
    one, two = (estimate(MODEL, uses, None, ROUND) for uses in (USES, doubled))
    assert two.total_pj == pytest.approx(2 * one.total_pj)
    higher = estimate(MODEL, USES, None, replace(ROUND, supply_v=6.0))
    assert higher.columns_pj == pytest.approx(9 * one.columns_pj)
    assert higher.drivers_pj == pytest.approx(9 * one.drivers_pj)


def test_a_conversion_follows_the_survey_or_walden() -> None:
    survey, walden = EnergyConstants(), EnergyConstants(adc_form=WALDEN)
    eight = BitPlaneSram(adc_bits=8)
    # 100 fJ a bit, and 1 aJ of 4^8
    assert conversion_pj(eight, survey) == pytest.approx(0.8 + 0.065536)
    assert conversion_pj(eight, walden) == pytest.approx(2.56)
    finer = conversion_pj(replace(MODEL, adc_bits=4), walden)
    assert finer == pytest.approx(2 * conversion_pj(MODEL, walden))
    # a quarter of the swing takes the decisions of two bits more
    ten = conversion_pj(replace(eight, adc_bits=10), survey)
    assert conversion_pj(replace(eight, full_scale=0.25), survey) == pytest.approx(ten)


@given(
    st.integers(1, 11),
    st.integers(1, 300),
    st.sampled_from(["current", "charge"]),
    st.sampled_from(["survey", "walden"]),
)
def test_more_bits_cost_more_and_more_rows_take_fewer_conversions(
    bits: int, inputs: int, domain: str, form: str
) -> None:
    model = CurrentSram if domain == "current" else ChargeSram
    cost = EnergyConstants(adc_form=form)
    weights = weights_of(1, inputs, 2)
    found = {
        (rows, adc): estimate(
            (device := model(rows=rows, adc_bits=adc)), counts(device, weights, 8, 1), PATH, cost
        )
        for rows in (64, 128, 256)
        for adc in (bits, bits + 1)
    }
    for rows in (64, 128, 256):
        assert found[rows, bits + 1].total_pj > found[rows, bits].total_pj
        assert found[rows, bits + 1].surrogate_share < found[rows, bits].surrogate_share
    conversions = [
        counts(model(rows=rows, adc_bits=8), weights, 8, 1).conversions for rows in (64, 128, 256)
    ]
    assert conversions == sorted(conversions, reverse=True)
    assert conversions[0] // conversions[-1] == -(-inputs // 64) // -(-inputs // 256)


def test_narrower_arithmetic_costs_less() -> None:
    shares = [
        estimate(MODEL, USES, PATH, EnergyConstants(surrogate_arithmetic=one)).surrogate_pj
        for one in (FLOAT32, FLOAT16, INT8)
    ]
    # Horowitz: 4.6, 1.5 and 0.3 pJ a multiply-accumulate; 0.9, 0.4 and 0.1 pJ an addition
    assert shares == pytest.approx([14 * 4.6 + 3 * 0.9, 14 * 1.5 + 3 * 0.4, 14 * 0.3 + 3 * 0.1])
    assert set(ARITHMETICS) == {FLOAT32, FLOAT16, INT8}


def test_every_constant_names_its_source_and_node() -> None:
    constants = listed(EnergyConstants())
    assert [one.name for one in constants] == [spec.name for spec in fields(EnergyConstants)]
    for one in constants:
        assert one.source
        assert one.meaning
        assert one.node == "-" if one.unit == "word" else "n" in one.node
    assert {one.node for one in constants} == {"-", "28 nm", "45 nm", "many nodes"}


def test_nothing_used_costs_nothing() -> None:
    nothing = estimate(MODEL, Counts())
    assert (nothing.total_pj, nothing.tops_per_watt, nothing.surrogate_share) == (0, 0, 0)


def test_no_price_without_bit_planes_or_a_converter() -> None:
    with pytest.raises(DeviceModelError, match="adc_bits"):
        estimate(replace(MODEL, adc_bits=None), Counts())
    for name in ("pcm", "ideal", "mismatch-10"):
        with pytest.raises(DeviceModelError, match="no energy estimate for kind"):
            estimate(preset(name), Counts())


@pytest.mark.parametrize(
    "wrong",
    [{"adc_aj": -1.0}, {"supply_v": float("nan")}, {"adc_form": "flash"}, {"int32_add_pj": "x"}],
)
def test_constants_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DeviceModelError, match=f"energy constants: {next(iter(wrong))} is"):
        EnergyConstants(**wrong)  # type: ignore[arg-type]  # that is what is tested
