"""Programming errors against CrossSim's own device classes, where a checkout of it is at hand.

`NPP_CROSSSIM` names the folder of the checkout (the one that holds `simulator`); SciPy is needed
as well. Both sides are samples of 100,000 pairs: means and standard deviations must agree within
five standard errors of their difference. Where both have a formula, it must be the same.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_models.array import Chip, State, program
from device_models.contract import DeviceModel
from device_models.memories.generic import DEPENDENCES, DISTRIBUTIONS, GenericMemory
from device_models.memories.sonos import SonosMemory
from device_models.presets import preset
from tests.memory_layers import ROWS, agree, held_weights, level_weights

CODES = (127, 90, 64, 13, 1)
PAIRS = (ROWS - 1, 500)
DAY_S = 86_400.0
SONOS_READ_V = 0.1


@pytest.fixture(scope="module")
def crosssim() -> Iterator[Path]:
    """The checkout, importable, with its computing set to NumPy."""
    named = os.environ.get("NPP_CROSSSIM")
    if not named:
        pytest.skip("NPP_CROSSSIM is not set: it names a checkout of CrossSim to compare with")
    pytest.importorskip("scipy", reason="CrossSim needs SciPy: pip install scipy")
    folder = Path(named)
    if not (folder / "simulator" / "devices").is_dir():
        pytest.fail(f"NPP_CROSSSIM is {named!r}, which holds no simulator/devices")
    sys.path.insert(0, str(folder))
    importlib.import_module("simulator.backend").ComputeBackend(use_gpu=False)
    yield folder
    sys.path.remove(str(folder))


def theirs(module: str, name: str, **changes: float) -> Any:
    """One of their devices; changes are parameters of the device, and `magnitude` of its error."""
    parameters = importlib.import_module("simulator").CrossSimParameters()
    device, error = parameters.xbar.device, parameters.xbar.device.programming_error
    error.magnitude = changes.pop("magnitude", 0.0)
    for key, value in changes.items():
        setattr(device, key, value)
    return getattr(importlib.import_module(f"simulator.devices.{module}"), name)(device, error)


def their_pairs(device: Any, g: float, method: str = "programming_error") -> NDArray[np.float64]:
    """Pairs of a cell that holds g of the range and an idle one, in parts of the range."""
    np.random.seed(7)  # noqa: NPY002  # CrossSim draws from the global generator
    write = getattr(device, method)
    with np.errstate(all="ignore"):  # their arithmetic, not ours
        high = write(np.full(PAIRS, device.Gmin_norm + g * device.Grange_norm))
        low = write(np.full(PAIRS, float(device.Gmin_norm)))
    return np.asarray((high - low) / device.Grange_norm).ravel()


def our_pairs(model: DeviceModel, code: int, age_s: float = 0.0) -> NDArray[np.float64]:
    array = program(Chip(model, 5), State(age_s), "layer", level_weights(code), 8)
    return held_weights(array, ROWS)[0, :-1].ravel() / 127


def ohms(micro_siemens: float) -> float:
    return 1e6 / micro_siemens


@pytest.mark.usefixtures("crosssim")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("name", "module", "kind", "range_us"),
    [
        ("pcm-joshi", "custom.PCM_Joshi", "PCMJoshi", (0.25, 25.0)),
        ("rram-milo", "custom.RRAM_Milo", "RRAMMilo", (50.0, 225.0)),
    ],
)
def test_programming_errors(
    name: str, module: str, kind: str, range_us: tuple[float, float], code: int
) -> None:
    device = theirs(module, kind, Rmax=ohms(range_us[0]), Rmin=ohms(range_us[1]))
    agree(our_pairs(preset(name), code), their_pairs(device, code / 127))


@pytest.mark.usefixtures("crosssim")
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dependence", DEPENDENCES)
def test_generic_devices(distribution: str, dependence: str, code: int) -> None:
    model = GenericMemory(distribution, dependence, 0.01)
    kind = f"{distribution} {dependence} device".replace("-", " ").title().replace(" ", "")
    width = math.sqrt(12) if distribution == "uniform" else 1.0
    device = theirs("generic_device", kind, infinite_on_off_ratio=True, magnitude=0.01 * width)
    agree(our_pairs(model, code), their_pairs(device, code / 127))


def their_sonos() -> Any:
    return theirs(
        "custom.SONOS",
        "SONOS",
        Rmin=SONOS_READ_V / 1600e-9,
        Vread=SONOS_READ_V,
        infinite_on_off_ratio=True,
    )


@pytest.mark.usefixtures("crosssim")
@pytest.mark.parametrize("code", CODES)
def test_charge_traps_just_written(code: int) -> None:
    quiet = replace(SonosMemory(), read_spread_na=0.0)
    agree(our_pairs(quiet, code), their_pairs(their_sonos(), code / 127))


@pytest.mark.usefixtures("crosssim")
@pytest.mark.parametrize("days", [0.0, 0.25, 1.0, 2.5, 4.9, 5.0])
def test_charge_traps_spread_by_the_same_law(days: float) -> None:
    """Later than five days they extrapolate and we stay; their shared shift is left out here."""
    currents_na = np.linspace(0.0, 1600.0, 33)
    _, amplitude, knee = their_sonos()._interpolate_drift(currents_na.copy(), days)
    expected = amplitude * (1 - np.exp(-currents_na / knee))
    found = SonosMemory().deviation_na(currents_na, days * DAY_S)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("crosssim")
def test_charge_traps_are_read_with_the_same_noise() -> None:
    silent = replace(SonosMemory(), spread_na=(0.0,) * 6)
    array = program(Chip(silent), State(), "layer", level_weights(64), 8)
    eye, generator = np.eye(ROWS, dtype=np.uint8)[:, None], np.random.default_rng(11)
    read = array.multiply(eye, 0, generator)[:-1, 0].ravel().astype(np.float64) / 127
    agree(read, their_pairs(their_sonos(), 64 / 127, "read_noise"))
