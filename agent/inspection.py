"""What a package is made of and costs, as a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from agent.energy import (
    NetworkEnergy,
    energy_document,
    layer_energy_document,
    network_energy,
)
from agent.runtimes.arithmetic import computed_as
from agent.runtimes.names import CIM, TFLITE
from agent.runtimes.tflite_files import checked_plan
from agent.store.package import Package
from agent.store.package_layers import described
from calib.costs import (
    allowed,
    bits_mean,
    budgeted_ranks,
    effective_bit_operations,
    network_bits_mean,
    surrogate_share,
    weight_bytes,
)
from calib.drawn_references import DrawnReferences
from calib.graph.linear import LinearLayer, uncorrected
from calib.packed import PackedNetwork
from device_models.energy.constants import FLOAT32, EnergyConstants
from device_models.errors import DeviceModelError
from device_models.toml_file import find_device

PRICED_CHIP = "sram-bitplane"
"""The chip whose energy is estimated where none is named."""


def inspection_document(
    package: Package, chip: str = PRICED_CHIP, arithmetic: str = FLOAT32
) -> dict[str, Any]:
    """What `inspect` says, but for the bytes of the file.

    Args:
        package: What the bundle holds.
        chip: The device whose energy is estimated: a preset, or the path of a TOML file.
        arithmetic: What the surrogates are taken to compute in, one of `ARITHMETICS`.

    Raises:
        DeviceModelError: there is no such chip.
        BundleError: what it holds for its runtime is not of its network.
    """
    network = package.network
    energy, note = _energy(package, chip, arithmetic)
    return {
        "model": package.model,
        "scheme": network.scheme,
        "runtime": package.runtime,
        "tolerance": package.tolerance,
        "activation_bits": activation_bits_of(network),
        "bits_mean": network_bits_mean(network),
        "rank": network.rank,
        "budget": asdict(network.budget),
        "layers": [_layer(package, layer, energy) for layer in network.layers],
        "uncorrected": list(uncorrected(network.decision_graph)),
        "multiply_accumulates": sum(layer.multiply_accumulates for layer in network.layers),
        "ebops": effective_bit_operations(network),
        "surrogate_mac_share": surrogate_share(network.layers, _ranks(package)),
        "surrogate_bytes": allowed(network.budget, network.layers).bytes,
        "energy": None if energy is None else energy_document(chip, energy),
        "energy_note": note,
        "references": references_document(network),
        "classes": network.decision.classes,
        "ranges": {
            "method": network.ranges.method,
            "output_errors": dict(network.ranges.output_errors),
        },
    }


def activation_bits_of(network: PackedNetwork) -> int | None:
    """Of every layer's inputs; None where each channel has its own."""
    return None if network.mixed else network.activation_bits


def _levels(network: PackedNetwork, layer: LinearLayer) -> list[dict[str, int]] | None:
    """How many of a layer's input channels have how many bits."""
    if layer.name not in network.mixed:
        return None
    levels = network.mixed[layer.name].levels
    return [
        {"bits": level.bits, "channels": layer.groups * len(level.channels)} for level in levels
    ]


def references_document(network: PackedNetwork) -> dict[str, Any]:
    """What the references are, and over how many samples they were taken."""
    references = network.references
    drawn = references if isinstance(references, DrawnReferences) else None
    return {
        "form": network.references_as,
        "count": references.count - references.held_back,
        "held_back": references.held_back,
        "positions": network.positions_per_sample,
        "samples": references.count if drawn is None else drawn.samples,
        "moment_rank": None if drawn is None else drawn.rank,
    }


def _ranks(package: Package) -> Mapping[str, int]:
    """The ranks of the branches, where the bundle has them; else those that the budget buys."""
    if package.runtime == TFLITE:
        plan = checked_plan(package.network, package.files)
        return {name: layer.rank for name, layer in plan.layers.items()}
    return budgeted_ranks(package.network)


def _layer(package: Package, layer: LinearLayer, energy: NetworkEnergy | None) -> dict[str, Any]:
    network = package.network
    return {
        **described(layer),
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "bits_mean": bits_mean(network, layer),
        "levels": _levels(network, layer),
        "computed_as": computed_as(package.runtime, network.weights.get(layer.name)),
        "bytes": weight_bytes(network, layer),
        **layer_energy_document(energy, layer.name),
    }


def _energy(
    package: Package, chip: str, arithmetic: str
) -> tuple[NetworkEnergy | None, str | None]:
    """The estimate, or the sentence that says why there is none."""
    network, model = package.network, find_device(chip)
    if package.runtime != CIM:
        return None, f"the runtime {package.runtime} is no chip, and its energy is not estimated"
    constants = EnergyConstants(surrogate_arithmetic=arithmetic)
    try:
        return network_energy(network, budgeted_ranks(network), model, constants), None
    except DeviceModelError as refusal:
        return None, str(refusal)
