"""Conductances over targets and time against aihwkit's own noise models, where it is installed.

Both sides are samples of 100,000 cells or pairs: means and standard deviations must agree within
five standard errors of their difference. Cells are compared one by one, as the models describe
them, and as weights that `program` writes and `multiply` reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import Chip, State, program
from device_models.contract import DeviceModel
from device_models.memories.cmo import MetalOxideMemory, conductances_us
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.pcm_hermes import HermesMemory
from device_models.memories.phase_change import PhaseChange, conductances
from device_models.memories.retention import RetentionMemory
from tests.memory_layers import COLUMNS, COUNT, ROWS, agree, asked, held_weights, level_cells
from tests.memory_layers import level_weights as weights_of

pytest.importorskip(
    "aihwkit", reason="pip install aihwkit==1.1.0 with torch 2.10, in an environment of its own"
)
torch = pytest.importorskip("torch")
pytestmark = [
    # Their hermes.py indexes with a list, which PyTorch 2.10 still takes as it was meant.
    pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning"),
    # Their reram.py gives tensors to NumPy's log10, in a way that NumPy will not take for ever.
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

HOUR_S, DAY_S, MONTH_S, YEAR_S = 3600.0, 86_400.0, 2_592_000.0, 31_536_000.0
AGES_S = (1.0, HOUR_S, DAY_S, MONTH_S, 10 * YEAR_S)
CODES = (127, 90, 40, 13, 3)
TORCH_SEED = 12


def pcm() -> Any:
    from aihwkit.inference import PCMLikeNoiseModel  # noqa: PLC0415  # slow to import

    return PCMLikeNoiseModel(g_max=25.0)


def hermes() -> Any:
    from aihwkit.inference.noise.hermes import HermesNoiseModel  # noqa: PLC0415  # the same

    return HermesNoiseModel(num_devices=2)


def wan() -> Any:
    from aihwkit.inference.noise.reram import ReRamWan2022NoiseModel  # noqa: PLC0415  # the same

    return ReRamWan2022NoiseModel(g_max=40.0)


def metal_oxide() -> Any:
    from aihwkit.inference.noise.reram import ReRamCMONoiseModel  # noqa: PLC0415  # the same

    return ReRamCMONoiseModel(acceptance_range=0.2)


PHASE_CHANGE = [(PhaseChangeMemory(), pcm), (HermesMemory(), hermes)]


def their_cells(theirs: Any, target_us: float, age_s: float | None) -> NDArray[np.float64]:
    """Cells of one target, in uS, at an age; None: as they were programmed, nothing else."""
    torch.manual_seed(TORCH_SEED)
    target = torch.full((COUNT,), target_us, dtype=torch.float64)
    held = theirs.apply_programming_noise_to_conductance(target)
    if age_s is not None:
        exponents = theirs.generate_drift_coefficients(target)
        held = theirs.apply_drift_noise_to_conductance(held, exponents, age_s)
    return np.asarray(held)


def their_weights(theirs: Any, code: int, age_s: float) -> NDArray[np.float64]:
    """Weights of one code beside one of the largest, which takes the whole range."""
    torch.manual_seed(TORCH_SEED)
    weights = torch.full((ROWS, COLUMNS), code / 127, dtype=torch.float64)
    weights[-1] = 1.0
    return np.asarray(theirs.apply_noise(weights, age_s))[:-1].ravel()


@pytest.mark.parametrize("age_s", [0.0, *AGES_S])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("model", "theirs"), PHASE_CHANGE)
def test_phase_change_cells(
    model: PhaseChange, theirs: Callable[[], Any], code: int, age_s: float
) -> None:
    target_us = code / 127 * model.g_max_us
    ours = asked(conductances(model, level_cells(code), age_s)) * model.g_max_us
    agree(ours, their_cells(theirs(), target_us, age_s))


@pytest.mark.parametrize("age_s", AGES_S)
@pytest.mark.parametrize(("model", "theirs"), PHASE_CHANGE)
def test_phase_change_cells_without_a_weight(
    model: PhaseChange, theirs: Callable[[], Any], age_s: float
) -> None:
    held = conductances(model, level_cells(90), age_s)[1].ravel().astype(np.float64)
    agree(held * model.g_max_us, their_cells(theirs(), 0.0, age_s))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("model", "theirs"), PHASE_CHANGE)
def test_phase_change_exponents(model: PhaseChange, theirs: Callable[[], Any], code: int) -> None:
    """A cell's own exponent: |N(mean, deviation)|, the same draw on both sides' formulas."""
    mean, deviation = model.drift_exponent(np.array([code / 127]))
    ours = np.abs(np.random.default_rng(4).normal(mean, deviation, COUNT))
    torch.manual_seed(TORCH_SEED)
    target = torch.full((COUNT,), code / 127 * model.g_max_us, dtype=torch.float64)
    agree(ours, np.asarray(theirs().generate_drift_coefficients(target)))


def our_weights(model: DeviceModel, code: int, age_s: float) -> NDArray[np.float64]:
    array = program(Chip(model, 8), State(age_s), "layer", weights_of(code), 8)
    return held_weights(array, ROWS)[0, :-1].ravel() / 127


@pytest.mark.parametrize("age_s", AGES_S)
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("model", "theirs"), PHASE_CHANGE)
def test_phase_change_weights(
    model: DeviceModel, theirs: Callable[[], Any], code: int, age_s: float
) -> None:
    agree(our_weights(model, code, age_s), their_weights(theirs(), code, age_s))


@pytest.mark.parametrize("age_s", [1.0, DAY_S, 2 * DAY_S])
@pytest.mark.parametrize("code", CODES)
def test_resistive_weights_at_the_ages_of_measurement(code: int, age_s: float) -> None:
    """With the range of 40 uS that the constants are for."""
    quiet = replace(RetentionMemory(), read_noise=0.0)
    agree(our_weights(quiet, code, age_s), their_weights(wan(), code, age_s))


@pytest.mark.parametrize("age_s", AGES_S)
@pytest.mark.parametrize("code", [*CODES, 0])
def test_metal_oxide_cells(code: int, age_s: float) -> None:
    model = MetalOxideMemory()
    target_us = model.g_min_us + code / 127 * (model.g_max_us - model.g_min_us)
    cells = level_cells(max(code, 1))
    held = conductances_us(model, cells, age_s)
    ours = asked(held) if code else held[1].ravel().astype(np.float64)
    agree(ours, their_cells(metal_oxide(), target_us, age_s))
