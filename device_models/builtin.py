"""The device models that come with this package, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from device_models.contract import DeviceModel
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.cmo import MetalOxideMemory
from device_models.memories.generic import GENERIC_PRESETS
from device_models.memories.pcm import PhaseChangeMemory
from device_models.memories.pcm_hermes import HermesMemory
from device_models.memories.product import Ideal, Mismatch
from device_models.memories.programmed import PCM_JOSHI, RRAM_MILO
from device_models.memories.retention import RetentionMemory
from device_models.memories.sonos import SonosMemory
from device_models.sram.charge_sram import ChargeSram
from device_models.sram.current_sram import CurrentSram


@dataclass(frozen=True)
class Preset:
    """A device model with a name."""

    name: str
    model: DeviceModel
    summary: str
    """What is wrong with it, in one line."""

    source: str


_MEMORIES = (
    Preset(
        "pcm",
        PhaseChangeMemory(),
        "phase-change pairs: programming noise, drift, 1/f noise",
        "Nandakumar et al., ICECS 2019; aihwkit pcm.py",
    ),
    Preset(
        "pcm-adc8",
        PhaseChangeMemory(periphery=AnalogPeriphery()),
        "pcm in tiles of 256 rows with 8-bit drivers and converters",
        "as pcm; tiles of the HERMES chip, converters of aihwkit's presets",
    ),
    Preset(
        "pcm-hermes",
        HermesMemory(),
        "phase-change pairs of the HERMES chip, two devices a cell",
        "Le Gallo et al., Nat. Electron. 2023; aihwkit hermes.py",
    ),
    Preset(
        "pcm-joshi",
        PCM_JOSHI,
        "phase-change pairs 27 s after programming; do not age",
        "Joshi et al., Nat. Commun. 2020; CrossSim PCM_Joshi.py",
    ),
    Preset(
        "rram-cmo",
        MetalOxideMemory(),
        "metal-oxide pairs: relaxation, 1/f noise, read noise",
        "Falcone et al.; aihwkit reram.py",
    ),
    Preset(
        "rram-milo",
        RRAM_MILO,
        "resistive pairs, 50 to 225 uS, programming error; do not age",
        "Milo et al., IRPS 2021; CrossSim RRAM_Milo.py",
    ),
    Preset(
        "rram-wan",
        RetentionMemory(),
        "resistive pairs that spread over two days, read noise",
        "Wan et al., Nature 2022; aihwkit reram.py",
    ),
    Preset(
        "sonos",
        SonosMemory(),
        "charge-trapping pairs that spread for days, read noise",
        "Agrawal et al., IEDM 2022; CrossSim SONOS.py",
    ),
)
_DEPENDENCE = {
    "independent": "the same for every cell",
    "proportional": "proportional to the cell",
    "inverse-proportional": "larger where the cell is smaller",
}
_GENERIC = tuple(
    Preset(
        name,
        model,
        f"pairs with a {model.distribution} error, {_DEPENDENCE[model.dependence]}",
        "CrossSim generic_device.py",
    )
    for name, model in GENERIC_PRESETS.items()
)
_PRESETS = (
    Preset("ideal", Ideal(), "nothing: it computes what the codes say", "exact arithmetic"),
    *_MEMORIES,
    *_GENERIC,
    Preset(
        "sram-bitplane",
        CurrentSram(),
        "binary cells whose thresholds vary and age, converters, noise",
        "Pelgrom 1989; Sakurai and Newton 1990; ASiM, CrossSim",
    ),
    Preset(
        "sram-charge",
        ChargeSram(),
        "binary cells whose capacitors vary, converters, kT/C noise",
        "CSNR/CACTUS, arXiv 2507.09776; ASiM, CrossSim",
    ),
)
_FIXED = {one.name: one for one in _PRESETS}
ANY_MISMATCH = "mismatch-N"
_ANY_MISMATCH = Preset(
    ANY_MISMATCH,
    Mismatch(),
    "each weight off by its own factor, N % in deviation",
    "multiplicative normal model",
)
_MISMATCH = re.compile(r"mismatch-(\d{1,12}(?:\.\d{1,6})?)")


def presets() -> tuple[Preset, ...]:
    """All presets; that of `mismatch-N` has an N of 10."""
    return (*_PRESETS, _ANY_MISMATCH)


def preset_names() -> tuple[str, ...]:
    """The names that `preset` knows; N in `mismatch-N` is any number of per cent."""
    return tuple(one.name for one in presets())


def own_preset(name: str) -> DeviceModel | None:
    """The device model of one of our names; None for any other."""
    if name in _FIXED:
        return _FIXED[name].model
    found = _MISMATCH.fullmatch(name)
    return None if found is None else Mismatch(percent=float(found[1]))


def is_ours(name: str) -> bool:
    """Whether a name is that of a preset of this package."""
    return name in preset_names() or _MISMATCH.fullmatch(name) is not None
