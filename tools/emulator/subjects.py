"""What is measured: ways to run one packed network, ours and rivals'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from device_models.contract import DeviceModel
from device_models.presets import preset
from device_models.sram.periphery import Periphery

FLOAT = "float32"


@dataclass(frozen=True)
class Subject:
    """One way to run the network on one of our own runtimes."""

    name: str
    title: str
    device: DeviceModel | None
    """None: the graph itself, in float32 NumPy."""

    fast: bool = False
    numba: bool = False
    """What the environment variable NPP_NUMBA is set to."""

    limit: float | None = None
    """At most so many times slower than the float network."""


@dataclass(frozen=True)
class Rival:
    """The same of another project."""

    name: str
    title: str
    project: str
    """`aihwkit` or `crosssim`."""

    bit_serial: bool = False


def noiseless() -> Periphery:
    """The preset `sram-bitplane` without read noise: static effects, and a converter of 8 bits."""
    model = preset("sram-bitplane")
    assert isinstance(model, Periphery)
    return replace(model, read_noise_counts=0.0)


def _planes() -> tuple[Subject, ...]:
    still, noisy = noiseless(), preset("sram-bitplane")
    exact, fast = "bit planes, exact", "bit planes, fast form"
    return (
        Subject("planes-numpy", exact, still, limit=25.0),
        Subject("planes-numba", f"{exact}, numba", still, numba=True, limit=15.0),
        Subject("planes-noisy-numpy", f"{exact}, read noise", noisy),
        Subject("planes-noisy-numba", f"{exact}, read noise, numba", noisy, numba=True),
        Subject("planes-fast", fast, still, fast=True, limit=2.0),
        Subject("planes-noisy-fast", f"{fast}, read noise", noisy, fast=True, limit=2.0),
    )


SUBJECTS: tuple[Subject, ...] = (
    Subject(FLOAT, "the network in float32 NumPy", None),
    Subject("ideal", "`ideal`", preset("ideal"), limit=1.3),
    Subject("mismatch", "`mismatch-10`", preset("mismatch-10"), limit=1.3),
    Subject("pcm", "`pcm`", preset("pcm"), limit=1.3),
    *_planes(),
)

RIVALS = (
    Rival("aihwkit-8-bit", "aihwkit, tiles with 8-bit converters", "aihwkit"),
    Rival("aihwkit-perfect", "aihwkit, tiles with exact products", "aihwkit"),
    Rival("crosssim-whole", "CrossSim, whole inputs, no converter", "crosssim"),
    Rival("crosssim-8", "CrossSim, bit-serial, 8 weight slices", "crosssim", bit_serial=True),
    Rival("crosssim-4", "CrossSim, bit-serial, 4 weight slices", "crosssim", bit_serial=True),
)


def by_name() -> Mapping[str, Subject]:
    """Our subjects."""
    return {subject.name: subject for subject in SUBJECTS}
