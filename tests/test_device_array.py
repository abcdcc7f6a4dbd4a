"""The seam to the emulated array: contract, ideal and mismatch models, identity of a chip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.errors import DeviceModelError
from device_models.memories.product import Ideal, Mismatch
from device_models.presets import preset, preset_names
from device_models.sram.bitplane import BitPlaneSram
from device_models.streams import normals

PRESETS = [name.replace("-N", "-10") for name in preset_names()]
AGEING = ("sram-bitplane", "pcm", "pcm-adc8", "pcm-hermes", "rram-cmo", "rram-wan", "sonos")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def weights_of(
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (1, 20, 6),
    bits: int = 8,
    block_rows: int | None = None,
) -> ArrayWeights:
    groups, inputs, outputs = shape
    block_rows = block_rows or inputs
    half = 1 << (bits - 1)
    return ArrayWeights(
        rng.integers(-half, half, shape).astype(np.int8),
        rng.uniform(0.01, 0.1, (groups, -(-inputs // block_rows), outputs)).astype(np.float32),
        block_rows,
        bits,
    )


def inputs_of(rng: np.random.Generator, weights: ArrayWeights, n: int = 5) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (n, *weights.codes.shape[:2])).astype(np.uint8)


def product(
    weights: ArrayWeights, codes: NDArray[np.uint8], zero_point: int
) -> NDArray[np.float64]:
    shifted = codes.astype(np.float64) - zero_point
    return np.einsum("ngd,gdm->ngm", shifted, weights.values().astype(np.float64))


@given(
    groups=st.integers(1, 4),
    inputs=st.integers(1, 50),
    outputs=st.integers(1, 6),
    n=st.integers(0, 6),
    bits=st.integers(2, 8),
    block_rows=st.integers(1, 60),
    zero_point=st.integers(0, 255),
    seed=st.integers(0, 2**32),
)
def test_every_model_computes_the_product_of_its_shapes(
    groups: int,
    inputs: int,
    outputs: int,
    n: int,
    bits: int,
    block_rows: int,
    zero_point: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights = weights_of(rng, (groups, inputs, outputs), bits, block_rows)
    codes = inputs_of(rng, weights, n)
    nominal = product(weights, codes, zero_point)
    for name in PRESETS:
        array = program(
            Chip(preset(name)), State(), "a", weights, 8, typical=lambda: codes, zero_point=3
        )
        got = array.multiply(codes, zero_point, rng)
        assert got.shape == (n, groups, outputs)
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        if name == "ideal":
            bound = 1e-6 * 255 * np.abs(weights.values()).sum(axis=1).max()
            np.testing.assert_allclose(got, nominal, rtol=1e-5, atol=bound)


@pytest.mark.parametrize("inputs", [500, 3000])
def test_ideal_is_the_exact_integer_product(rng: np.random.Generator, inputs: int) -> None:
    weights = replace(weights_of(rng, (1, inputs, 4)), scales=np.ones((1, 1, 4), np.float32))
    codes = inputs_of(rng, weights)
    exact = (codes[:, 0].astype(np.int64) - 200) @ weights.codes[0].astype(np.int64)
    got = program(Chip(Ideal()), State(), "a", weights, 8).multiply(codes, 200, rng)
    assert np.array_equal(got[:, 0], exact.astype(np.float32))


def test_values_are_codes_times_scales_of_their_block() -> None:
    codes = np.array([[[1, -2], [3, 4], [-5, 6]]], np.int8)
    scales = np.array([[[0.5, 1.0], [2.0, 4.0]]], np.float32)
    plain = ArrayWeights(codes, scales, 2, 4)
    assert plain.values().tolist() == [[[0.5, -2.0], [1.5, 4.0], [-10.0, 24.0]]]
    book = ArrayWeights(
        np.array([[[0], [2], [1]]], np.int8),
        np.array([[[1.0], [3.0]]], np.float32),
        2,
        2,
        np.array([-1.0, 0.0, 0.5], np.float32),
    )
    assert book.values().tolist() == [[[-1.0], [0.5], [0.0]]]


def test_mismatch_is_normal_and_proportional_to_the_weight(rng: np.random.Generator) -> None:
    weights = weights_of(rng, (1, 400, 100))
    array = program(Chip(Mismatch(percent=5.0), 3), State(), "a", weights, 8)
    nominal = weights.values()
    codes = np.eye(400, dtype=np.uint8)[:, None]
    held = array.multiply(codes, 0, rng)[:, 0]
    kept = nominal[0] != 0
    relative = held[kept] / nominal[0][kept] - 1
    count = relative.size
    assert abs(relative.mean()) < 5 * 0.05 / np.sqrt(count)
    assert relative.std() == pytest.approx(0.05, rel=5 / np.sqrt(2 * count))
    assert ((relative / 0.05) ** 4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / count))
    assert (held[~kept] == 0).all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_chip_is_always_itself(rng: np.random.Generator, name: str) -> None:
    weights, other = weights_of(rng, (1, 300, 6)), weights_of(rng, (2, 7, 3))
    codes = inputs_of(rng, weights)
    chip = Chip(preset(name), 5)

    def answer(asked: Chip = chip, layer: str = "conv1", age_s: float = 0.0) -> NDArray[np.float32]:
        array = program(asked, State(age_s), layer, weights, 8, typical=lambda: codes)
        return array.multiply(codes, 3, np.random.default_rng(0))

    first = answer()
    for layer in ("conv2", "conv3"):
        program(chip, State(), layer, other, 8, typical=lambda: inputs_of(rng, other))
    assert np.array_equal(answer(), first)
    aged = answer(age_s=3e7)
    assert np.array_equal(aged, first) == (name not in AGEING)
    assert np.array_equal(answer(), first)
    assert np.array_equal(answer(age_s=3e7), aged)
    if name != "ideal":
        assert not np.array_equal(answer(asked=Chip(preset(name), 6)), first)
        assert not np.array_equal(answer(layer="conv2"), first)


def test_streams_are_independent_of_each_other() -> None:
    shape = (50_000,)
    base = normals(1, "conv", "cell current", shape)
    others = [
        normals(2, "conv", "cell current", shape),
        normals(1, "conw", "cell current", shape),
        normals(1, "conv", "column gain", shape),
    ]
    for other in others:
        assert abs(np.corrcoef(base, other)[0, 1]) < 5 / np.sqrt(base.size)


def test_the_figures_of_a_chip_are_pinned() -> None:
    """A change here turns every stored chip into another one."""
    figures = normals(7, "conv1", "cell current", (4,))
    np.testing.assert_allclose(figures, [0.467434, 0.02851987, -0.1331263, -0.721351], rtol=1e-6)


GOOD = {
    "codes": np.zeros((2, 5, 3), np.int8),
    "scales": np.ones((2, 2, 3), np.float32),
    "block_rows": 4,
    "bits": 4,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codes": np.zeros((2, 5, 3), np.int16)}, r"int16 \[2, 5, 3\]"),
        ({"codes": np.zeros((5, 3), np.int8)}, r"int8 \[groups, d, m\]"),
        ({"codes": np.zeros((2, 0, 3), np.int8)}, r"int8 \[2, 0, 3\]"),
        ({"codes": np.full((2, 5, 3), 8, np.int8)}, "from 8 to 8; 4 bits allow -8 to 7"),
        ({"scales": np.ones((2, 1, 3), np.float32)}, r"needed: finite float32 \[2, 2, 3\]"),
        ({"scales": np.ones((2, 2, 3))}, "float64"),
        ({"scales": np.full((2, 2, 3), np.nan, np.float32)}, "finite"),
        ({"block_rows": 0}, "at least one"),
        ({"bits": 0}, "1 to 8"),
        ({"bits": 9}, "1 to 8"),
        ({"codebook": np.zeros(17, np.float32)}, "1 to 16 finite"),
        ({"codebook": np.full(4, np.inf, np.float32)}, "finite"),
        (
            {"codebook": np.zeros(4, np.float32), "codes": np.full((2, 5, 3), 4, np.int8)},
            "allow 0 to 3",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: dict[str, Any], words: str) -> None:
    ArrayWeights(**GOOD)
    with pytest.raises(DeviceModelError, match=words):
        ArrayWeights(**{**GOOD, **change})


@pytest.mark.parametrize("name", PRESETS)
def test_inputs_that_do_not_fit_are_refused(rng: np.random.Generator, name: str) -> None:
    good = np.zeros((2, 1, 20), np.uint8)
    array = program(Chip(preset(name)), State(), "a", weights_of(rng), 5, typical=lambda: good)
    for bad, words in (
        (good.astype(np.int8), "int8"),
        (good[:, :, :19], r"\[2, 1, 19\]; the array takes uint8 \[n, 1, 20\]"),
        (good[0], r"\[1, 20\]"),
        (good + np.uint8(32), "32 does not fit 5 bits"),
    ):
        with pytest.raises(DeviceModelError, match=words):
            array.multiply(bad, 0, rng)


def test_chips_and_states_that_cannot_be_are_refused(rng: np.random.Generator) -> None:
    for wrong, words in (
        (lambda: State(age_s=-1.0), "age of -1"),
        (lambda: State(age_s=float("nan")), "finite"),
        (lambda: State(temperature_c=-300.0), "temperature of -300"),
        (lambda: Chip(Ideal(), -1), "seed -1"),
        (lambda: program(Chip(Ideal()), State(), "conv", weights_of(rng), 9), "conv: 9 input bits"),
    ):
        with pytest.raises(DeviceModelError, match=words):
            wrong()


def test_a_chip_does_not_depend_on_what_its_model_switches_off(rng: np.random.Generator) -> None:
    """Effects have streams of their own: the cells stay when another effect is added."""
    quiet = BitPlaneSram(column_gain_sigma=0.0, column_offset_counts=0.0, adc_bits=None)
    quiet = replace(quiet, read_noise_counts=0.0)
    weights = weights_of(rng)
    codes = inputs_of(rng, weights)
    alone = program(Chip(quiet), State(), "a", weights, 8).multiply(codes, 0, rng)
    offset = program(
        Chip(replace(quiet, column_offset_counts=1.0)), State(), "a", weights, 8
    ).multiply(codes, 0, rng)
    difference = offset - alone
    np.testing.assert_allclose(
        difference, np.broadcast_to(difference[:1], difference.shape), atol=1.0
    )
    assert np.abs(difference).min() > 1.0
