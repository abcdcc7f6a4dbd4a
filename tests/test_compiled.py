"""The compiled loop finds what NumPy finds, bit for bit; without numba there is NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast_layer import both, layer_weights, model_of, relu_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from device_models.array import ArrayWeights, Chip, State, program
from device_models.errors import DeviceModelError
from device_models.sram.bitplane import BitPlaneSram
from device_models.sram.compiled import SWITCH, is_compiled
from device_models.sram.plane_build import on_grid

ROOT = Path(__file__).resolve().parents[1]


class Switched:
    """The switch set to something; a hypothesis test cannot take a fixture for each example."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.before = os.environ.get(SWITCH)

    def __enter__(self) -> None:
        os.environ[SWITCH] = self.value

    def __exit__(self, *_: object) -> None:
        os.environ.pop(SWITCH)
        if self.before is not None:
            os.environ[SWITCH] = self.before


def ways(array: Any, codes: NDArray[np.uint8], zero_point: int) -> list[Any]:
    """What NumPy and the compiled loop make of the same inputs and the same generator."""
    found = []
    for value in ("0", "1"):
        with Switched(value):
            generator = np.random.default_rng(4)
            found.append(array.multiply(codes, zero_point, generator))
            found.append(generator.bit_generator.state)
    return found


@given(
    groups=st.integers(1, 2),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 5),
    n=st.integers(0, 40),
    rows=st.integers(1, 70),
    bits=st.integers(2, 8),
    input_bits=st.integers(1, 8),
    adc_bits=st.integers(1, 10),
    noise=st.sampled_from([0.0, 0.04, 0.3, 2.0]),
    offset=st.sampled_from([0.0, 0.05, 3.0]),
    dull=st.integers(0, 7),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_compiled_and_numpy_are_equal_bit_for_bit(
    groups: int,
    inputs: int,
    outputs: int,
    n: int,
    rows: int,
    bits: int,
    input_bits: int,
    adc_bits: int,
    noise: float,
    offset: float,
    dull: int,
    seed: int,
) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(seed)
    weights = ArrayWeights(
        rng.integers(-(1 << bits - 1), 1 << bits - 1, (groups, inputs, outputs)).astype(np.int8),
        rng.uniform(0.01, 0.1, (groups, 1, outputs)).astype(np.float32),
        inputs,
        bits,
    )
    codes = rng.integers(0, 1 << input_bits, (n, groups, inputs)).astype(np.uint8)
    codes >>= rng.integers(0, dull + 1, (n, 1, 1)).astype(np.uint8)
    model = BitPlaneSram(
        rows=rows, adc_bits=adc_bits, read_noise_counts=noise, column_offset_counts=offset
    )
    array = program(Chip(model, seed), State(), "a", weights, input_bits)
    plain, state, compiled, other_state = ways(array, codes, 3)
    np.testing.assert_array_equal(plain, compiled)
    assert state == other_state


@pytest.mark.parametrize(
    "change",
    [{"dac_bits": 2}, {"reads": 3}, {"ir_drop": 0.1}, {"inl_steps": 0.5}, {"sar_sigma": 0.2}],
    ids=lambda change: next(iter(change)),
)
def test_what_the_compiled_loop_does_not_know_is_left_to_numpy(change: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(1)
    model = replace(BitPlaneSram(), **change)
    array = program(Chip(model), State(), "a", layer_weights(rng), 8)
    plain, _, compiled, _ = ways(array, relu_codes(rng, 40), 0)
    np.testing.assert_array_equal(plain, compiled)


def test_the_fast_form_is_the_same_compiled() -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(1)
    model = replace(model_of(0.5, 8, 128, rng), read_noise_counts=0.3)
    _, fast = both(model, layer_weights(rng), rng)
    plain, _, compiled, _ = ways(fast, relu_codes(rng, 300), 5)
    np.testing.assert_array_equal(plain, compiled)


@given(
    height=st.integers(1, 600),
    most_input=st.sampled_from([1, 3, 255]),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_sums_of_cells_are_exact_in_any_order(
    height: int, most_input: int, scale: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cells = (scale * rng.normal(1, 0.3, (1, height, 4))).astype(np.float32)
    placed = cells.copy()
    on_grid(placed, most_input)
    reach = np.abs(cells).sum(axis=1) * most_input
    assert (np.abs(placed - cells).max(axis=1) <= 2.0**-23 * reach).all()
    driven = rng.integers(0, most_input + 1, height).astype(np.float32)
    exact = driven.astype(np.float64) @ placed[0].astype(np.float64)
    for order in (rng.permutation(height), np.arange(height)):
        total = np.zeros(4, np.float32)
        for row in order:
            total += driven[row] * placed[0, row]
        np.testing.assert_array_equal(total, exact.astype(np.float32))
    np.testing.assert_array_equal(driven @ placed[0], exact.astype(np.float32))


def test_a_switch_is_0_or_1() -> None:
    with Switched("yes"), pytest.raises(DeviceModelError, match="NPP_NUMBA is 'yes'; give 1"):
        is_compiled()
    with Switched("0"):
        assert not is_compiled()


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.path.append("tools")
import numpy as np
from device_models.array import Chip, State, program
from device_models.sram.bitplane import BitPlaneSram
from device_models.errors import DeviceModelError
from fast_layer import layer_weights, relu_codes

rng = np.random.default_rng(1)
array = program(Chip(BitPlaneSram()), State(), "a", layer_weights(rng), 8)
try:
    print(array.multiply(relu_codes(rng, 3), 0, rng).shape)
except DeviceModelError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("switch", "said"),
    [("", "(3, 1, 16)"), ("0", "(3, 1, 16)"), ("1", "NPP_NUMBA is 1, but numba is not installed")],
)
def test_without_numba_there_is_numpy(switch: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=ROOT,
        env={**os.environ, SWITCH: switch},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)
