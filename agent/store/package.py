"""A packed network in a bundle, and back: what `pack` writes and the board loads.

What is stored stands in docs/format.md. `_NUMBERS` and `_TEXTS` are the plain fields of a
`PackedNetwork`; a new one is a line there. What there is for each layer is in `package_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent import __version__
from agent.errors import BundleError
from agent.store.bundle import Bundle, bundle_bytes
from agent.store.fields import Fields, array_of
from agent.store.npy import Array
from agent.store.package_choices import (
    budget_document,
    read_budget,
    read_precisions,
    read_ranges,
)
from agent.store.package_layers import LayerParts, check_sizes, read_layers, write_layers
from agent.store.package_references import (
    read_samples,
    read_stored,
    write_references,
)
from calib.decision import Decision, decision_graph
from calib.errors import CalibError
from calib.graph.linear import LinearLayer, linear_layers, shapes
from calib.graph.model import Graph
from calib.graph.serial import from_document, to_document
from calib.packed import PackedNetwork, as_float32, with_weights
from calib.reference_plan import FORMS
from calib.references import References, SampleCodes, recompute_references

PACKAGE_FORMAT = 1

_TEXTS = ("scheme", "references_as")
_NUMBERS = {
    "activation_bits": (4, 8),
    "rank": (0, 2**16 - 1),
    "positions_per_sample": (1, 2**31 - 1),
    "seed": (0, 2**63 - 1),
}
"""Fields of `PackedNetwork` and the range that is allowed."""

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a document that contradicts itself makes the code behind the checks raise."""


@dataclass(frozen=True)
class Package:
    """What a bundle holds."""

    network: PackedNetwork
    model: str
    """The model's name, as people know it."""

    runtime: str
    """What is to run the main path."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """For the runtime."""

    tolerance: float = 0.0
    """Relative error of the layers that the rounding of two right runtimes may differ by."""


def package_bytes(package: Package) -> bytes:
    """The bytes of a bundle with this in it.

    Raises:
        BundleError: it cannot be put into a bundle.
    """
    document, arrays = to_parts(package)
    return bundle_bytes(document, arrays, package.files)


def to_parts(package: Package) -> tuple[dict[str, Any], dict[str, Array]]:
    """The document and the arrays of a bundle.

    Raises:
        BundleError: it cannot be put into a bundle.
    """
    network = package.network
    entries, arrays = write_layers(network)
    graph, constants = to_document(network.graph)
    for entry in entries:  # these follow from the codes
        constants.pop(entry["constant"], None)
    arrays |= {f"constants/{i}": value for i, value in enumerate(constants.values())}
    references, reference_arrays = write_references(network.references, network.layers)
    if network.decision.projection is not None:
        arrays["projection"] = network.decision.projection.astype(np.float32)
    document = {
        "package_format": PACKAGE_FORMAT,
        "packed_by": f"npp-agent {__version__}",
        "model": {"name": package.model},
        "runtime": package.runtime,
        **({"tolerance": float(package.tolerance)} if package.tolerance else {}),
        **{name: str(getattr(network, name)) for name in _TEXTS},
        **{name: int(getattr(network, name)) for name in _NUMBERS},
        "graph": graph,
        "constants": list(constants),
        "layers": entries,
        "factor_precisions": list(network.factor_bits),
        "budget": budget_document(network),
        "decision": {"classes": network.decision.classes},
        "ranges": {
            "method": network.ranges.method,
            "output_errors": {k: float(v) for k, v in network.ranges.output_errors.items()},
        },
        "references": references,
    }
    return document, {**arrays, **reference_arrays}


def read_package(bundle: Bundle) -> Package:
    """The inverse of `package_bytes`, from an opened bundle; NumPy alone is needed.

    Raises:
        BundleError: it is damaged, contradicts itself, or is of another version.
    """
    try:
        return _read(bundle)
    except CalibError as error:
        raise BundleError(f"{bundle.name}: {error}") from error
    except _DAMAGE as error:
        raise BundleError(
            f"{bundle.name} contradicts itself ({type(error).__name__}: {error}); it is damaged: "
            "pack the model again"
        ) from error


def _read(bundle: Bundle) -> Package:
    document = Fields(bundle.document, bundle.name)
    if document.content.get("package_format") != PACKAGE_FORMAT:
        raise BundleError(
            f"{bundle.name} holds a package of format "
            f"{document.content.get('package_format')!r}, this npp-agent reads {PACKAGE_FORMAT}; "
            "pack the model again"
        )
    files = {name: bundle.file(name) for name, part in bundle.parts.items() if part.dtype is None}
    model, runtime = document.inner("model").text("name"), document.text("runtime")
    tolerance = document.number("tolerance") if "tolerance" in document.content else 0.0
    if tolerance < 0:
        raise BundleError(
            f"{bundle.name}: the tolerance is {tolerance}, and it is at least 0; the bundle is "
            "damaged: pack the model again"
        )
    return Package(_read_network(bundle, document), model, runtime, files, tolerance)


def _read_network(bundle: Bundle, document: Fields) -> PackedNetwork:
    numbers = {name: document.whole(name, *limits) for name, limits in _NUMBERS.items()}
    texts = {name: document.text(name) for name in _TEXTS}
    if texts["references_as"] not in FORMS[1:]:
        raise BundleError(
            f"{bundle.name} has references kept as {texts['references_as']!r}, this npp-agent "
            f"knows {', '.join(FORMS[1:])}; pack the model again"
        )
    entries = document.items("layers")
    bare = _bare_graph(bundle, document, entries)
    samples = read_samples(bundle, document, bare.input.shape)
    layers = _checked_layers(bare, entries)
    parts = read_layers(bundle, entries, layers, numbers["activation_bits"])
    graph = with_weights(bare, layers, _nominal(bundle, parts))
    decision, answer_shape = _read_decision(bundle, document, graph)
    layers = linear_layers(decision_graph(graph))
    if texts["references_as"] == "stored":
        entry = document.inner("references")
        references: References = read_stored(bundle, entry, layers, samples, answer_shape)
    else:
        float_graph = with_weights(graph, layers, as_float32(_kept(bundle, parts)))
        references = _computed(bundle, document, float_graph, decision, samples, parts)
    budget = read_budget(document)
    return PackedNetwork(
        graph=graph,
        layers=layers,
        **texts,  # type: ignore[arg-type]  # the names stand in the tables above
        **numbers,  # type: ignore[arg-type]
        weights=parts.weights,
        activations=parts.activations,
        factor_bits=read_precisions(document),
        ranges=read_ranges(document.inner("ranges")),
        decision=decision,
        metrics=parts.metrics,
        references=references,
        float_weights=parts.float_weights,
        budget_bytes=budget.bytes,
        budget_mac_share=budget.mac_share,
        budget_slowdown=budget.slowdown,
        mixed=parts.mixed,
    )


def _computed(  # noqa: PLR0913, PLR0917  # all that references follow from
    bundle: Bundle,
    document: Fields,
    float_graph: Graph,
    decision: Decision,
    samples: SampleCodes,
    parts: LayerParts,
) -> References:
    """References that the board computes with float weights."""
    if document.text("references_as") == "moments":
        from agent.store.package_moments import read_moments  # noqa: PLC0415 - most have none

        layers = linear_layers(decision_graph(float_graph))
        return read_moments(bundle, document, layers, parts.activations)
    return recompute_references(
        float_graph,
        decision,
        samples,
        held_back=document.inner("references").whole("held_back"),
        positions=document.whole("positions_per_sample", *_NUMBERS["positions_per_sample"]),
        seed=document.whole("seed", *_NUMBERS["seed"]),
    )


def _bare_graph(bundle: Bundle, document: Fields, entries: Sequence[Fields]) -> Graph:
    """The graph with zeros, which take no memory, where codes stand for constants."""
    graph = document.inner("graph").content
    listed = document.inner("graph").inner("constants").content
    check_sizes(bundle, entries, listed)
    constants: dict[str, Array] = {
        name: bundle.array(f"constants/{i}") for i, name in enumerate(document.texts("constants"))
    }
    for entry in entries:
        name = entry.text("constant")
        constants[name] = np.broadcast_to(np.float32(0), tuple(listed[name]))
    return from_document(graph, constants)


def _checked_layers(graph: Graph, entries: Sequence[Fields]) -> tuple[LinearLayer, ...]:
    layers = linear_layers(decision_graph(graph))
    found, listed = [layer.name for layer in layers], [entry.text("name") for entry in entries]
    if found != listed or not found:
        raise BundleError(
            f"the graph has the linear layers {', '.join(found)[:80] or 'none'}, the bundle lists "
            f"{', '.join(listed)[:80] or 'none'}; it is damaged: pack the model again"
        )
    return layers


def _nominal(bundle: Bundle, parts: LayerParts) -> Mapping[str, NDArray[np.float32]]:
    """The weights that the network stands for: of the codes, or of scheme `float`."""
    coded = parts.weights or parts.mixed
    if coded:
        return {name: weights.values() for name, weights in coded.items()}
    return as_float32(_kept(bundle, parts))


def _kept(bundle: Bundle, parts: LayerParts) -> Mapping[str, Any]:
    if parts.float_weights is None:
        raise BundleError(
            f"{bundle.name} has no float weights, which its scheme or its references need; it is "
            "damaged: pack the model again"
        )
    return parts.float_weights


def _read_decision(
    bundle: Bundle, document: Fields, graph: Graph
) -> tuple[Decision, tuple[int, ...]]:
    logits = decision_graph(graph)
    shape = shapes(logits)[logits.output]
    outputs = int(np.prod(shape[1:]))
    if document.inner("decision").flag("classes"):
        if len(shape) != 2 or outputs < 2:
            raise BundleError(f"{bundle.name}: answers of shape {list(shape)} are no classes")
        return Decision(classes=True), shape
    projection = array_of(bundle, "projection", ("<f4",), (outputs,))
    return Decision(classes=False, projection=projection.astype(np.float32)), shape
