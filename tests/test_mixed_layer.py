"""Layers whose channels have levels: what codes stand for, and their bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.errors import CalibError
from calib.schemes.channelwise import quantise_layer
from calib.schemes.mixed import MixedLayer, centre_of, checked_levels
from calib.schemes.mixed_bytes import (
    heads_of,
    layer_bytes,
    mixed_bytes,
    mixed_layer,
    on_float16_grid,
)

Array = np.ndarray[Any, Any]


def layer_of(
    bits: list[int], *, groups: int = 1, taps: int = 3, outputs: int = 5, seed: int = 0
) -> tuple[MixedLayer, Array, Array]:
    """A layer with its float weights and rows that are partly negative."""
    generator = np.random.default_rng(seed)
    d = taps * len(bits)
    weight = generator.standard_normal((groups, d, outputs)).astype(np.float32)
    rows = generator.standard_normal((300, groups, d)).astype(np.float32)
    rows[:, :, 0] = np.abs(rows[:, :, 0])
    return quantise_layer(weight, rows, bits, taps), weight, rows


@st.composite
def layers(draw: st.DrawFn) -> MixedLayer:
    levels = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True))
    bits = draw(st.lists(st.sampled_from(levels), min_size=1, max_size=12))
    groups, taps, outputs = (draw(st.integers(1, n)) for n in (3, 4, 5))
    seed = draw(st.integers(0, 2**32 - 1))
    return layer_of(bits, groups=groups, taps=taps, outputs=outputs, seed=seed)[0]


@given(layer=layers(), seed=st.integers(0, 2**32 - 1))
def test_what_lies_beyond_the_limits_is_what_is_clipped(layer: MixedLayer, seed: int) -> None:
    groups, d, _ = layer.values().shape
    low, high = (end.reshape(groups, d) for end in layer.limits)
    rows = np.random.default_rng(seed).uniform(-12, 12, (40, groups, d)).astype(np.float32)
    within = np.clip(rows, low, high)
    np.testing.assert_array_equal(layer.rounded(within), layer.rounded(rows))
    for level in layer.levels:
        error = np.abs(layer.rounded(within) - within).reshape(40, groups, layer.taps, -1)
        assert (error[..., level.channels] <= 0.501 * level.steps[:, None]).all()


@given(layer=layers())
def test_bytes_are_as_few_as_promised_and_come_back_bit_for_bit(layer: MixedLayer) -> None:
    data = mixed_bytes(layer)
    assert len(data) == layer_bytes(layer)
    shape = layer.values().shape
    found = mixed_layer(data, heads_of(layer), shape, layer.taps)
    assert len(found.levels) == len(layer.levels)
    for mine, theirs in zip(found.levels, layer.levels, strict=True):
        assert (mine.bits, mine.zero_point) == (theirs.bits, theirs.zero_point)
        for part in ("channels", "steps", "codes", "scales"):
            np.testing.assert_array_equal(getattr(mine, part), getattr(theirs, part))


def test_codes_take_their_bits_and_nothing_more() -> None:
    bits = [1] * 4 + [2] * 4 + [8] * 2
    layer, weight, _ = layer_of(bits, taps=9, outputs=8)
    codes = 9 * 8 * (4 * 1 + 4 * 2 + 2 * 8) // 8
    scales, steps, levels = 2 * 3 * 8, 2 * 10, 3
    assert len(mixed_bytes(layer)) == codes + scales + steps + levels
    assert layer.bits_mean == pytest.approx(2.8)
    assert layer.weights == weight.size


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_bytes_of_another_length_are_refused(cut: int) -> None:
    layer, weight, _ = layer_of([2, 4, 4])
    data = mixed_bytes(layer)
    wrong = data + b"\0" if cut == 0 else data[:cut]
    with pytest.raises(CalibError, match=r"has \d+ bytes, its levels take \d+"):
        mixed_layer(wrong, heads_of(layer), weight.shape, 3)


@pytest.mark.parametrize(
    "changes", [{"bits": 9}, {"bits": 0}, {"zero_point": 4}, {"step_exponent": 500}]
)
def test_heads_that_cannot_be_are_refused(changes: dict[str, int]) -> None:
    layer, weight, _ = layer_of([2, 4, 4])
    first, second = heads_of(layer)
    with pytest.raises(CalibError, match="a level is described as"):
        mixed_layer(mixed_bytes(layer), [replace(first, **changes), second], weight.shape, 3)


def test_more_levels_than_channels_have_are_refused() -> None:
    layer, weight, _ = layer_of([2, 2, 2])
    heads = [*heads_of(layer), replace(heads_of(layer)[0], bits=4)]
    with pytest.raises(CalibError, match="2 levels are described, the channels have other ones"):
        mixed_layer(mixed_bytes(layer), heads, weight.shape, 3)


@given(
    values=st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=9),
)
def test_rounding_to_the_grid_is_small_and_done_once(values: list[float]) -> None:
    given_values = np.array(values)
    found = on_float16_grid(given_values)
    np.testing.assert_array_equal(on_float16_grid(found), found)
    assert (found > 0).all()
    large = given_values > given_values.max() * 2**-13
    np.testing.assert_allclose(found[large], given_values[large], rtol=2**-11)


@given(layer=layers())
def test_weights_and_inputs_lie_on_the_grids_of_their_level(layer: MixedLayer) -> None:
    values = layer.values()
    groups, _, outputs = values.shape
    by_channel = values.reshape(groups, layer.taps, -1, outputs)
    for level in layer.levels:
        assert level.codes.min() >= -(2 ** (level.bits - 1))
        assert level.codes.max() <= 2 ** (level.bits - 1) - 1
        in_steps = by_channel[:, :, level.channels] * level.steps[:, None, :, None]
        codes = in_steps / level.scales[:, None, None] - centre_of(level.bits)
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)


def test_each_level_alone_gives_what_the_whole_layer_gives() -> None:
    """Sums of codes, level by level, are the product of rounded inputs and nominal weights."""
    layer, _, rows = layer_of([1, 2, 8, 4, 1], groups=2)
    total = np.zeros((len(rows), 2, 5))
    for level in layer.levels:
        codes = level.encode_rows(rows, layer.taps).astype(np.float64) - level.zero_point
        sums = np.einsum("ngd,gdm->ngm", codes, level.codes + np.float64(level.centre))
        total += sums * level.scales
    expected = np.einsum("ngd,gdm->ngm", layer.rounded(rows).astype(np.float64), layer.values())
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-4)


def test_one_bit_has_two_weights_and_two_inputs() -> None:
    layer, _, rows = layer_of([1, 1])
    level = layer.levels[0]
    assert set(np.unique(level.levels())) == {-0.5, 0.5}
    assert set(np.unique(level.encode_rows(rows, 3))) == {0, 1}


def test_more_bits_are_nearer_to_the_float_layer() -> None:
    errors = []
    for bits in range(1, 9):
        layer, weight, rows = layer_of([bits] * 8, outputs=9)
        clean = np.einsum("ngd,gdm->ngm", rows, weight)
        found = np.einsum("ngd,gdm->ngm", layer.rounded(rows), layer.values())
        errors.append(float(np.linalg.norm(found - clean) / np.linalg.norm(clean)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.03


def test_passing_errors_on_is_better_than_rounding_to_the_nearest() -> None:
    """Where inputs go together; the float weights' best scale for the nearest, level by level."""
    generator = np.random.default_rng(3)
    common = generator.standard_normal((2000, 1, 4)) @ generator.standard_normal((4, 32))
    rows = np.maximum(common + 0.3 * generator.standard_normal(common.shape), 0)
    rows = rows.astype(np.float32)
    weight = generator.standard_normal((1, 32, 16)).astype(np.float32)
    layer = quantise_layer(weight, rows, [4] * 32, 1)
    clean = rows[:, 0] @ weight[0]
    mine = layer.rounded(rows)[:, 0] @ layer.values()[0]
    scale = np.abs(weight).max(axis=1, keepdims=True) / 7
    nearest = layer.rounded(rows)[:, 0] @ (np.rint(weight / scale) * scale)[0]
    assert np.linalg.norm(mine - clean) < 0.75 * np.linalg.norm(nearest - clean)


def test_idle_channels_and_outputs_stay_finite() -> None:
    weight = np.zeros((1, 6, 2), np.float32)
    weight[0, :3, 0] = 1
    rows = np.zeros((20, 1, 6), np.float32)
    rows[:, 0, 0] = 1
    layer = quantise_layer(weight, rows, [2, 4, 4], 2)
    assert np.isfinite(layer.values()).all()
    found = layer.rounded(rows)[0, 0] @ layer.values()[0]
    np.testing.assert_allclose(found, [1, 0], atol=0.1)


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        ((), "levels none: give one to 3"),
        ((1, 2, 3, 4), "levels 1,2,3,4: give one to 3"),
        ((0, 2), "levels 0,2: 0 is out of range"),
        ((2, 9), "levels 2,9: 9 is out of range"),
        ((4, 4), "levels 4,4: one stands there twice"),
    ],
)
def test_levels_that_cannot_be_are_refused(levels: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(CalibError, match=sentence):
        checked_levels(levels)


def test_levels_are_put_in_order() -> None:
    assert checked_levels([8, 2]) == (2, 8)
