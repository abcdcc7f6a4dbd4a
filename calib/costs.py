"""What a network costs: multiply-accumulates of main path and surrogate, bytes, effective bits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calib.budget import Budget
from calib.errors import CalibError
from calib.factor_codes import component_bytes, encoded_bytes
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from calib.precision import typical_bits
from calib.schemes.mixed_bytes import layer_bytes

FLOAT_BITS = 16
"""Of a weight in a bundle of scheme `float`."""

BUDGET_BITS = 16
"""`rank` stands for the bytes of that rank in every layer with factors of so many bits."""


@dataclass(frozen=True)
class Cost:
    """Bytes of flash, and multiply-accumulates for one sample."""

    bytes: float
    macs: float


def budget_bytes(layer: LinearLayer, rank: float) -> float:
    """What one layer adds to the budget of A and B that all layers share; with groups, nothing.

    A depthwise layer's only component is as large as the layer itself, so that a rank says little.
    """
    if layer.groups > 1:
        return 0.0
    return rank * (layer.inputs + layer.outputs) * BUDGET_BITS / 8


def spent(layers: Sequence[LinearLayer], bits: Mapping[str, Sequence[int]]) -> Cost:
    """What factors take whose components have these bits: gains, offsets, A, B and headers."""
    macs = sum(surrogate_multiply_accumulates(layer, len(bits[layer.name])) for layer in layers)
    return Cost(encoded_bytes(layers, bits), macs)


@dataclass(frozen=True)
class Spending:
    """What factors take, and what they may take: infinite where there is no limit."""

    bytes: float
    bytes_allowed: float
    mac_share: float
    mac_share_allowed: float
    slowdown: float | None = None
    """As measured; None where nothing was."""

    slowdown_allowed: float = math.inf


def spending(
    budget: Budget, layers: Sequence[LinearLayer], bits: Mapping[str, Sequence[int]]
) -> Spending:
    """What factors whose components have these bits take of a budget."""
    limits, used = allowed(budget, layers), spent(layers, bits)
    total = sum(layer.multiply_accumulates for layer in layers)
    return Spending(used.bytes, limits.bytes, used.macs / total, limits.macs / total)


def component_cost(layer: LinearLayer, bits: int) -> Cost:
    """What one component of a layer adds: rows of A, one in each group, and a column of B."""
    one, none = (surrogate_multiply_accumulates(layer, rank) for rank in (1, 0))
    return Cost(component_bytes(layer, bits), one - none)


def allowed(budget: Budget, layers: Sequence[LinearLayer]) -> Cost:
    """A budget's limits in bytes and multiply-accumulates; infinite where it has none."""
    size = math.inf
    if budget.bytes is not None:
        size = budget.bytes
    elif budget.rank is not None:
        size = _bare(layers).bytes + sum(budget_bytes(layer, budget.rank) for layer in layers)
    macs = math.inf
    if budget.mac_share is not None:
        macs = budget.mac_share * sum(layer.multiply_accumulates for layer in layers)
    return Cost(size, macs)


def left_for_branches(budget: Budget, layers: Sequence[LinearLayer]) -> Cost:
    """What a budget leaves for A and B: gains and offsets are always there.

    Raises:
        CalibError: these alone are more than the budget allows.
    """
    limits, bare = allowed(budget, layers), _bare(layers)
    total = sum(layer.multiply_accumulates for layer in layers)
    if bare.bytes > limits.bytes:
        raise CalibError(
            f"gains and offsets alone take {bare.bytes:.0f} bytes, the budget allows "
            f"{limits.bytes:.0f}: raise --budget-bytes"
        )
    if bare.macs > limits.macs:
        raise CalibError(
            f"the gains alone take {bare.macs / total:.3g} of the network's multiply-accumulates, "
            f"the budget allows {budget.mac_share:.3g}: raise --budget-mac-share"
        )
    return Cost(limits.bytes - bare.bytes, limits.macs - bare.macs)


def _bare(layers: Sequence[LinearLayer]) -> Cost:
    """Of surrogates without A and B."""
    return spent(layers, {layer.name: () for layer in layers})


def uniform_rank(left: Cost, layers: Sequence[LinearLayer]) -> float:
    """The rank that what is left for A and B buys in every dense layer, with 16 bits a number."""
    size = sum(budget_bytes(layer, 1) for layer in layers)
    dense = [layer for layer in layers if layer.groups == 1]
    macs = sum(component_cost(layer, BUDGET_BITS).macs for layer in dense)
    return min(left.bytes / size, left.macs / macs) if size else 0.0


def budgeted_ranks(network: PackedNetwork) -> dict[str, int]:
    """The rank that each layer's own part of the budget buys.

    A calibration moves the budget between the layers, to where it is worth most; until there has
    been one, this is the best guess.
    """
    left = left_for_branches(network.budget, network.layers)
    by_bytes = uniform_rank(Cost(left.bytes, math.inf), network.layers)
    by_macs = uniform_rank(Cost(math.inf, left.macs), network.layers)

    def rank_of(layer: LinearLayer) -> int:
        if layer.groups > 1:
            return 0
        stored = budget_bytes(layer, by_bytes) / component_bytes(
            layer, typical_bits(network.factor_bits)
        )
        return int(min(layer.inputs, layer.outputs, stored, by_macs))

    return {layer.name: rank_of(layer) for layer in network.layers}


def surrogate_multiply_accumulates(layer: LinearLayer, rank: int) -> int:
    """Of one sample: A and B of each group at every position, and the gain."""
    low_rank = rank * (layer.groups * layer.inputs + layer.outputs)
    return layer.positions * (low_rank + layer.outputs)


def surrogate_share(layers: Sequence[LinearLayer], ranks: Mapping[str, int]) -> float:
    """Multiply-accumulates of the surrogates, as a share of those of the main path."""
    surrogates = sum(surrogate_multiply_accumulates(layer, ranks[layer.name]) for layer in layers)
    return surrogates / sum(layer.multiply_accumulates for layer in layers)


def bits_mean(network: PackedNetwork, layer: LinearLayer) -> float:
    """Mean bits of a weight's code; scales are not counted."""
    if layer.name in network.mixed:
        return network.mixed[layer.name].bits_mean
    weights = network.weights.get(layer.name)
    return float(FLOAT_BITS if weights is None else weights.bits)


def network_bits_mean(network: PackedNetwork) -> float:
    """Mean bits of the codes of all weights."""
    total = sum(layer.weight.size for layer in network.layers)
    return sum(bits_mean(network, layer) * layer.weight.size for layer in network.layers) / total


def weight_bytes(network: PackedNetwork, layer: LinearLayer) -> int:
    """What a layer's weights take in a bundle: codes and scales, or float16 weights."""
    if layer.name in network.mixed:
        return layer_bytes(network.mixed[layer.name])
    weights = network.weights.get(layer.name)
    return layer.weight.size * FLOAT_BITS // 8 if weights is None else weights.bytes


def effective_bit_operations(network: PackedNetwork) -> float:
    """Multiply-accumulates times weight bits times activation bits, summed over the layers.

    The measure is that of HGQ (arXiv 2405.00645), there called effective bit operations.
    """
    return sum(_bit_operations(network, layer) for layer in network.layers)


def _bit_operations(network: PackedNetwork, layer: LinearLayer) -> float:
    if layer.name in network.mixed:
        return float(layer.positions * network.mixed[layer.name].bit_operations)
    return layer.multiply_accumulates * bits_mean(network, layer) * network.activation_bits
