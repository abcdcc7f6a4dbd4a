"""The numbers of NumPy's default generator, made without it: NumPy is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.uniform import UniformNumbers

SEEDS = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 10), st.integers(0, 2**128 - 1))


@given(seed=SEEDS, shapes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 900)), max_size=4))
def test_numbers_are_those_of_numpy_however_many_are_drawn_at_once(
    seed: int, shapes: list[tuple[int, ...]]
) -> None:
    ours, theirs = UniformNumbers(seed), np.random.default_rng(seed)
    for shape in shapes:
        np.testing.assert_array_equal(ours.random(shape), theirs.random(shape))


@pytest.mark.parametrize("count", [2047, 2048, 2049, 10_000])
def test_numbers_go_on_where_many_steps_end(count: int) -> None:
    ours, theirs = UniformNumbers(7), np.random.default_rng(7)
    for _ in range(3):
        np.testing.assert_array_equal(ours.random((count,)), theirs.random(count))
