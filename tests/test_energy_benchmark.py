"""The table of energies is monotonic where physics says so, and its report complete."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from bench_energy import report
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

from calib.decision import decision_graph
from calib.graph.linear import LinearLayer, linear_layers
from device_models.energy.constants import ARITHMETICS, FLOAT32, INT8
from device_models.energy.estimate import PUBLISHED_TOPS_PER_WATT
from tests.small_networks import classifier

LAYERS = linear_layers(decision_graph(classifier()))


def test_the_grid_is_the_one_asked_for() -> None:
    settings = list(grid(FLOAT32))
    assert len(settings) == len(set(settings)) == 7 * 5 * 3
    assert {one.rank for one in settings} == {0, 1, 2, 4, 8, 16, 32}
    assert {one.adc_bits for one in settings} == {4, 5, 6, 7, 8}
    assert {one.rows for one in settings} == {64, 128, 256}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_finer_converters_cost_more_and_rank_raises_the_surrogates_share(arithmetic: str) -> None:
    found = {(one.rows, one.adc_bits, one.rank): energy_of(LAYERS, one) for one in grid(arithmetic)}
    for rows, rank in itertools.product(ROWS, RANKS):
        totals = [found[rows, bits, rank].total_pj for bits in ADC_BITS]
        assert totals == sorted(totals)
        assert len(set(totals)) == len(ADC_BITS)
    for rows, bits in itertools.product(ROWS, ADC_BITS):
        shares = [found[rows, bits, rank].surrogate_share for rank in RANKS]
        assert shares == sorted(shares)
        assert 0 < shares[0] < shares[3] < 1


def test_more_rows_never_take_more_conversions() -> None:
    by_rows = [uses_of(LAYERS, Setting(rows=rows)).conversions for rows in ROWS]
    assert by_rows == sorted(by_rows, reverse=True)
    assert uses_of(LAYERS, Setting(rows=8)).conversions > by_rows[0]


def test_grouped_layers_and_absent_surrogates() -> None:
    grouped = [layer for layer in LAYERS if layer.groups > 1]
    assert grouped
    assert energy_of(grouped, Setting(rank=8)).low_rank_pj == 0
    assert energy_of(grouped, Setting(rank=8)).gain_offset_pj > 0
    assert energy_of(LAYERS, Setting(rank=None)).surrogate_pj == 0


def test_a_square_layer_by_hand() -> None:
    setting = Setting(adc_bits=4, rank=2, arithmetic=INT8)
    found = square_layer(512, setting)
    # 512 x 512 in two tiles of 256 rows, 64 readings of each column, 0.4 pJ and 4^4 aJ
    assert found.conversions_pj == pytest.approx(2 * 64 * 512 * (0.4 + 256e-6))
    assert found.surrogate_pj == pytest.approx((2 * 1024 + 512) * 0.3 + 512 * 0.1)
    bare = full_array(setting)
    assert found.tops_per_watt < bare.tops_per_watt


def test_each_step_towards_the_published_figure_gains_and_none_reaches_it() -> None:
    found = [full_array(one) if full else energy_of(LAYERS, one) for _, one, full in steps()]
    figures = [one.tops_per_watt for one in found]
    assert figures == sorted(figures)
    assert figures[-1] < PUBLISHED_TOPS_PER_WATT
    assert full_array(replace(steps()[-1][1], rows=64)).tops_per_watt < figures[-1]


def test_silicon_that_is_alike_is_within_an_order_of_magnitude() -> None:
    ratios = {one.name: one.tops_per_watt / ours for one in MACROS if (ours := one.ours())}
    alike = [ratio for name, ratio in ratios.items() if not name.startswith("MF-Net")]
    assert len(alike) == 4
    assert all(0.1 < ratio < 10 for ratio in alike)
    assert all(one.source and one.differs for one in MACROS)


def two() -> dict[str, list[LinearLayer]]:
    return {"ResNet-8": list(LAYERS), "keywords": list(LAYERS)}


def test_the_report_has_every_table() -> None:
    text = report(two(), "energy.png")
    assert text.count("| rank 0 | rank 1 | rank 2 | rank 4 | rank 8 | rank 16 | rank 32 |") == 4
    assert text.count("| rows | ADC bits |") == 6
    assert "464" in text
    assert "105" in text
    assert "| `int8_multiply_pj` | 0.2 pJ | 45 nm |" in text


def test_the_picture_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(two(), energy_of, tmp_path / "energy.png")
    assert (tmp_path / "energy.png").read_bytes().startswith(b"\x89PNG")
