"""What an inference of a network costs on an emulated chip, layer by layer: an estimate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.runtimes.cim_paths import written, written_level
from calib.costs import surrogate_multiply_accumulates
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from device_models.contract import DeviceModel
from device_models.energy.constants import EnergyConstants, listed
from device_models.energy.counts import Counts, SurrogateCounts, counts, total
from device_models.energy.estimate import Energy, estimate, priced, total_energy
from device_models.errors import DeviceModelError
from device_models.sram.periphery import Periphery


@dataclass(frozen=True)
class LayerEnergy:
    """One layer of one inference."""

    uses: Counts
    energy: Energy


@dataclass(frozen=True)
class NetworkEnergy:
    """All layers of one inference, in the network's order."""

    layers: Mapping[str, LayerEnergy]
    constants: EnergyConstants

    @property
    def uses(self) -> Counts:
        """Of all layers."""
        return total(layer.uses for layer in self.layers.values())

    @property
    def energy(self) -> Energy:
        """Of all layers."""
        return total_energy(layer.energy for layer in self.layers.values())


def network_energy(
    network: PackedNetwork,
    ranks: Mapping[str, int],
    model: DeviceModel,
    constants: EnergyConstants,
) -> NetworkEnergy:
    """Estimate an inference with surrogates of these ranks.

    Raises:
        DeviceModelError: the model's parts have no price, or the network is not quantised.
    """
    array = priced(model)
    if not network.weights and not network.mixed:
        raise DeviceModelError("no energy estimate before the weights are quantised")
    found = {}
    for layer in network.layers:
        uses = total(_uses(network, layer, array))
        path = surrogate_counts(layer, ranks[layer.name])
        found[layer.name] = LayerEnergy(uses, estimate(array, uses, path, constants))
    return NetworkEnergy(found, constants)


def _uses(network: PackedNetwork, layer: LinearLayer, array: Periphery) -> Iterator[Counts]:
    """Of the arrays that a layer stands in: one, or one for each level."""
    if layer.name not in network.mixed:
        weights = written(network.weights[layer.name])
        yield counts(array, weights, network.activation_bits, layer.positions)
        return
    for level in network.mixed[layer.name].levels:
        yield counts(array, written_level(level), level.bits, layer.positions)
        if level.centre:  # the sum of the inputs, and its share of each output
            groups, rows, outputs = level.codes.shape
            yield Counts(sums=layer.positions * groups * (rows + outputs))


def surrogate_counts(layer: LinearLayer, rank: int) -> SurrogateCounts:
    """What a layer's surrogate of this rank does for one sample."""
    gains = surrogate_multiply_accumulates(layer, 0)
    low_rank = surrogate_multiply_accumulates(layer, rank) - gains
    return SurrogateCounts(low_rank, gains, offsets=gains)


def energy_document(device: str, found: NetworkEnergy) -> dict[str, Any]:
    """The network's figures, with the constants they rest on."""
    return {
        "device": device,
        "array_reads": found.uses.array_reads,
        "conversions": found.uses.conversions,
        **found.energy.document(),
        "constants": [asdict(one) for one in listed(found.constants)],
    }


def layer_energy_document(found: NetworkEnergy | None, name: str) -> dict[str, Any]:
    """One layer's figures; null where there is no estimate."""
    if found is None:
        names = ("array_reads", "conversions", "main_pj", "surrogate_pj", "energy_share")
        return dict.fromkeys(names)
    layer, whole = found.layers[name], found.energy.total_pj
    return {
        "array_reads": layer.uses.array_reads,
        "conversions": layer.uses.conversions,
        "main_pj": layer.energy.main_pj,
        "surrogate_pj": layer.energy.surrogate_pj,
        "energy_share": layer.energy.total_pj / whole if whole else 0.0,
    }
