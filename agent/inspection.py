"""What a package is made of and costs, as a document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent.runtimes.cim import written
from agent.store.package import Package
from agent.store.package_layers import described
from calib.costs import (
    allowed,
    bits_mean,
    budgeted_ranks,
    effective_bit_operations,
    surrogate_multiply_accumulates,
    surrogate_share,
    weight_bytes,
)
from calib.drawn_references import DrawnReferences
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from device_models.bitplane_model import BitPlaneSram
from device_models.counts import counts, total
from device_models.energy import estimate


def inspection_document(package: Package) -> dict[str, Any]:
    """What `inspect` says, but for the bytes of the file."""
    network = package.network
    return {
        "model": package.model,
        "scheme": network.scheme,
        "runtime": package.runtime,
        "activation_bits": network.activation_bits,
        "rank": network.rank,
        "budget": asdict(network.budget),
        "layers": [_layer(network, layer) for layer in network.layers],
        "multiply_accumulates": sum(layer.multiply_accumulates for layer in network.layers),
        "ebops": effective_bit_operations(network),
        "surrogate_mac_share": surrogate_share(network.layers, budgeted_ranks(network)),
        "surrogate_bytes": allowed(network.budget, network.layers).bytes,
        "energy": _energy(network),
        "references": references_document(network),
        "classes": network.decision.classes,
        "ranges": {
            "method": network.ranges.method,
            "output_errors": dict(network.ranges.output_errors),
        },
    }


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


def _layer(network: PackedNetwork, layer: LinearLayer) -> dict[str, Any]:
    return {
        **described(layer),
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "bits_mean": bits_mean(network, layer),
        "bytes": weight_bytes(network, layer),
    }


def _energy(network: PackedNetwork) -> dict[str, Any] | None:
    """One inference on an SRAM array, estimated; None where nothing is quantised."""
    if not network.weights:
        return None
    device = BitPlaneSram()
    uses = total(
        counts(
            device,
            written(network.weights[layer.name]),
            network.activation_bits,
            layer.positions,
        )
        for layer in network.layers
    )
    ranks = budgeted_ranks(network)
    macs = sum(surrogate_multiply_accumulates(one, ranks[one.name]) for one in network.layers)
    found = estimate(device, uses, macs)
    return {
        "device": "sram-bitplane",
        **asdict(found),
        "total_pj": found.total_pj,
        "tops_per_watt": found.tops_per_watt,
    }
