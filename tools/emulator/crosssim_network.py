"""A packed network on CrossSim's bit-sliced cores, inputs a bit at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator import CrossSimParameters
from simulator.algorithms.dnn.torch.convert import from_torch

from calib.packed import PackedNetwork
from calib.schemes.activations import ActivationCode
from emulator.torch_network import TorchNetwork, torch_network


@dataclass(frozen=True)
class Cores:
    """How its cores are set up; everything else is as CrossSim has it: ideal cells, no noise."""

    slices: int
    """Of the weights; 8 slices of 8 bits are binary cells."""

    bit_serial: bool = True
    """Inputs a bit a cycle, each converted; otherwise whole inputs, converted once."""

    rows: int = 256
    weight_bits: int = 8
    input_bits: int = 8
    adc_bits: int = 8
    """0: no conversion."""


def parameters(cores: Cores, code: ActivationCode) -> Any:
    """The parameters of one layer, whose inputs have this code."""
    found = CrossSimParameters()
    core, array = found.core, found.xbar
    core.weight_bits, core.rows_max = cores.weight_bits, cores.rows
    core.mapping.weights.percentile = 1.0  # the largest weight takes the whole range
    if cores.slices > 1:
        core.style, core.bit_sliced.style = "BITSLICED", "OFFSET"
        core.bit_sliced.num_slices = cores.slices
    else:
        core.style = "OFFSET"
    array.device.cell_bits = cores.weight_bits // cores.slices
    array.device.infinite_on_off_ratio = True
    top = code.step * (2**code.bits - 1 - code.zero_point)
    core.mapping.inputs.mvm.min, core.mapping.inputs.mvm.max = 0.0, float(top)
    converter = array.dac.mvm
    converter.model, converter.bits, converter.signed = "QuantizerDAC", cores.input_bits, False
    converter.input_bitslicing = cores.bit_serial
    array.adc.mvm.model, array.adc.mvm.bits = "QuantizerADC", cores.adc_bits
    array.adc.mvm.signed, array.adc.mvm.adc_per_ibit = False, cores.bit_serial
    levels = 2 ** (cores.weight_bits // cores.slices) - 1
    full_scale = (2**cores.adc_bits - 1) / levels  # a code is the least current of a cell
    array.adc.mvm.calibrated_range = [[0.0, full_scale]] * cores.slices
    return found


def core_network(network: PackedNetwork, cores: Cores) -> TorchNetwork:
    """All linear layers on cores.

    Raises:
        ValueError: a layer's inputs can be negative; unsigned converters cannot drive them.
    """
    codes = iter(network.activations[layer.name] for layer in network.layers)

    def convert(module: Any) -> Any:
        code = next(codes)
        if code.zero_point:
            raise ValueError("CrossSim's unsigned converters need inputs that are never negative")
        return from_torch(module, parameters(cores, code)).eval()

    return torch_network(network, convert, by_output=True)
