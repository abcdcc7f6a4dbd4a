"""What a network costs: multiply-accumulates of main path and surrogate, and effective bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from calib.factor_codes import component_bytes
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork

FLOAT_BITS = 16
"""Of a weight in a bundle of scheme `float`."""

BUDGET_BITS = 16
"""`rank` stands for the bytes of that rank in every layer with factors of so many bits."""


def budget_bytes(layer: LinearLayer, rank: int) -> float:
    """What one layer adds to the budget of A and B that all layers share."""
    if layer.groups > 1:
        return 0.0
    return rank * (layer.inputs + layer.outputs) * BUDGET_BITS / 8


def budgeted_ranks(network: PackedNetwork) -> dict[str, int]:
    """The rank that each layer's own part of the budget buys.

    A calibration moves bytes between the layers, to where they are worth most; until there has
    been one, this is the best guess.
    """
    return {
        layer.name: min(
            layer.inputs,
            layer.outputs,
            int(budget_bytes(layer, network.rank) / component_bytes(layer, network.factor_bits)),
        )
        for layer in network.layers
    }


def surrogate_multiply_accumulates(layer: LinearLayer, rank: int) -> int:
    """Of one sample: A and B at every position, and the gain; grouped layers have no A and B."""
    low_rank = rank * (layer.inputs + layer.outputs) if layer.groups == 1 else 0
    return layer.positions * (low_rank + layer.outputs)


def surrogate_share(layers: Sequence[LinearLayer], ranks: Mapping[str, int]) -> float:
    """Multiply-accumulates of the surrogates, as a share of those of the main path."""
    surrogates = sum(surrogate_multiply_accumulates(layer, ranks[layer.name]) for layer in layers)
    return surrogates / sum(layer.multiply_accumulates for layer in layers)


def bits_mean(network: PackedNetwork, layer: LinearLayer) -> float:
    """Mean bits of a weight's code; scales are not counted."""
    weights = network.weights.get(layer.name)
    return float(FLOAT_BITS if weights is None else weights.bits)


def weight_bytes(network: PackedNetwork, layer: LinearLayer) -> int:
    """What a layer's weights take in a bundle: codes and scales, or float16 weights."""
    weights = network.weights.get(layer.name)
    return layer.weight.size * FLOAT_BITS // 8 if weights is None else weights.bytes


def effective_bit_operations(network: PackedNetwork) -> float:
    """Multiply-accumulates times weight bits times activation bits, summed over the layers.

    The measure is that of HGQ (arXiv 2405.00645), there called effective bit operations.
    """
    return sum(
        layer.multiply_accumulates * bits_mean(network, layer) * network.activation_bits
        for layer in network.layers
    )
