"""A packed network on aihwkit's inference tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aihwkit.inference import GlobalDriftCompensation, PCMLikeNoiseModel
from aihwkit.inference.compensation.drift import PerColumnDriftCompensation
from aihwkit.nn.conversion import convert_to_analog
from aihwkit.simulator.configs import InferenceRPUConfig

from calib.packed import PackedNetwork
from emulator.torch_network import TorchNetwork, torch_network

TILE = 256
"""Rows and columns of a tile."""

EIGHT_BITS = 1 / (2**8 - 2)


@dataclass(frozen=True)
class Tiles:
    """How the tiles are set up; everything else is as aihwkit has it."""

    periphery: str
    """`perfect`: exact products; `8-bit`: converters of 8 bits, no noise; `default`: its own."""

    by_column: bool = True
    """Each column's weights take the whole range; otherwise all columns of a tile share it."""

    compensation: str = "global"
    """Its drift compensation: `global`, `column` or `none`."""


COMPENSATIONS = {
    "global": GlobalDriftCompensation,
    "column": PerColumnDriftCompensation,
    "none": lambda: None,
}


def configuration(tiles: Tiles) -> Any:
    """The configuration of one kind of tile, with its PCM noise model."""
    found = InferenceRPUConfig()
    found.mapping.max_input_size = found.mapping.max_output_size = TILE
    found.mapping.weight_scaling_omega = 1.0
    found.mapping.weight_scaling_columnwise = tiles.by_column
    found.noise_model = PCMLikeNoiseModel(g_max=25.0)
    found.drift_compensation = COMPENSATIONS[tiles.compensation]()
    if tiles.periphery == "perfect":
        found.forward.is_perfect = True
    elif tiles.periphery == "8-bit":
        found.forward.inp_res = found.forward.out_res = EIGHT_BITS
        found.forward.out_noise = 0.0
    return found


def analog_network(network: PackedNetwork, tiles: Tiles) -> TorchNetwork:
    """All linear layers on tiles, not programmed yet: they compute with the exact weights."""
    set_up = configuration(tiles)
    return torch_network(network, lambda module: convert_to_analog(module, set_up).eval())


def modules(network: TorchNetwork) -> Iterator[Any]:
    """The analog modules, in order."""
    return (layer.module for layer in network.layers.values())
