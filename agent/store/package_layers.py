"""The linear layers in a bundle: codes of the weights, activation codes, output metrics.

The weight constants of the graph are not stored: they follow from the codes (scheme `float`: from
the float16 weights).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BundleError
from agent.store.bundle import Bundle
from agent.store.fields import Fields, array_of
from agent.store.npy import Array
from agent.store.package_levels import fewest_bytes, has_levels, read_levels, write_levels
from calib.graph.linear import LinearLayer
from calib.packed import Float16, PackedNetwork
from calib.schemes.activations import ActivationCode
from calib.schemes.mixed import MixedLayer
from calib.schemes.packing import pack_nibbles, unpack_nibbles
from calib.schemes.weights import QuantisedWeights

NIBBLE_BITS = 4
"""Codes of so many bits or fewer are packed two to a byte; others take a byte each."""


@dataclass(frozen=True)
class LayerParts:
    """What a bundle holds for the linear layers, by layer name."""

    weights: Mapping[str, QuantisedWeights]
    activations: Mapping[str, ActivationCode]
    metrics: Mapping[str, Float16]
    float_weights: Mapping[str, Float16] | None
    mixed: Mapping[str, MixedLayer]


def write_layers(network: PackedNetwork) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """The layers' entries in the document, and their arrays."""
    codebooks = codebooks_of(network)
    arrays: dict[str, Array] = {f"codebooks/{i}": book for i, book in enumerate(codebooks)}
    entries = []
    nodes = {node.name: node for node in network.graph.nodes}
    for i, layer in enumerate(network.layers):
        name = layer.name
        code = network.activations[name]
        entry = described(layer)
        entry["constant"] = nodes[name].inputs[1]
        entry["activation"] = {"step": float(code.step), "zero_point": int(code.zero_point)}
        entry["weight"] = None
        arrays[f"metrics/{i}"] = network.metrics[name]
        if name in network.weights:
            entry["weight"] = _write_codes(i, network.weights[name], codebooks, arrays)
        if name in network.mixed:
            entry["levels"] = write_levels(i, network.mixed[name], arrays)
        if network.float_weights is not None:
            arrays[f"float16/{i}"] = network.float_weights[name]
        entries.append(entry)
    return entries, arrays


def described(layer: LinearLayer) -> dict[str, Any]:
    """What readers other than ours may want to know; nothing is loaded from it but the name."""
    return {
        "name": layer.name,
        "op": layer.op,
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "groups": layer.groups,
        "kernel": None if layer.window is None else list(layer.window.kernel),
        "positions": layer.positions,
        "multiply_accumulates": layer.multiply_accumulates,
    }


def codebooks_of(network: PackedNetwork) -> list[NDArray[np.float32]]:
    """The different codebooks of a network's weights."""
    found: dict[bytes, NDArray[np.float32]] = {}
    for weights in network.weights.values():
        if weights.codebook is not None:
            found.setdefault(weights.codebook.tobytes(), weights.codebook)
    return list(found.values())


def _write_codes(
    i: int,
    weights: QuantisedWeights,
    codebooks: Sequence[NDArray[np.float32]],
    arrays: dict[str, Array],
) -> dict[str, Any]:
    packed = weights.bits <= NIBBLE_BITS
    arrays[f"codes/{i}"] = pack_nibbles(weights.codes) if packed else weights.codes
    arrays[f"scales/{i}"] = weights.scales
    book = None
    if weights.codebook is not None:
        book = [known.tobytes() for known in codebooks].index(weights.codebook.tobytes())
    return {"bits": weights.bits, "block_rows": weights.block_rows, "codebook": book}


def check_sizes(bundle: Bundle, entries: Sequence[Fields], shapes: Mapping[str, Any]) -> None:
    """Check that the constants which codes stand for are as large as the codes say.

    Raises:
        BundleError: a constant is missing, or of another size than its codes.
    """
    for i, entry in enumerate(entries):
        name, weight = entry.text("constant"), entry.optional("weight")
        shape = shapes.get(name)
        if not isinstance(shape, list) or not all(type(s) is int and s > 0 for s in shape):
            raise BundleError(f"{entry.where}: the graph has no constant {name!r}; pack it again")
        levels = has_levels(entry)
        kind = "levels" if levels else "float16" if weight is None else "codes"
        part = bundle.parts.get(f"{kind}/{i}.npy")
        held = 0 if part is None or part.shape is None else int(np.prod(part.shape, dtype=object))
        count = int(np.prod(shape, dtype=object))
        nibbles = weight is not None and weight.whole("bits", 1, 8) <= NIBBLE_BITS
        fits = held == ((count + 1) // 2 if nibbles else count)
        if not (held >= fewest_bytes(count) if levels else fits):
            raise BundleError(
                f"{entry.where}: {held} weights or pairs of codes are there for a constant of "
                f"shape {shape}; the bundle is damaged: pack the model again"
            )


def read_layers(
    bundle: Bundle, entries: Sequence[Fields], layers: Sequence[LinearLayer], activation_bits: int
) -> LayerParts:
    """The inverse of `write_layers`.

    Raises:
        BundleError: an array or an entry does not fit its layer.
    """
    quantised = [entry.optional("weight") for entry in entries]
    keeps_float = "float16/0.npy" in bundle.parts
    weights, activations, metrics, halved = {}, {}, {}, {}
    for i, (layer, entry, coded) in enumerate(zip(layers, entries, quantised, strict=True)):
        if coded is not None:
            weights[layer.name] = _read_codes(bundle, i, coded, layer)
        activations[layer.name] = _read_activation(entry.inner("activation"), activation_bits)
        metric = array_of(bundle, f"metrics/{i}", ("<f2",), (layer.outputs, None))
        metrics[layer.name] = metric.astype(np.float16)
        if keeps_float:
            half = array_of(bundle, f"float16/{i}", ("<f2",), layer.weight.shape)
            halved[layer.name] = half.astype(np.float16)
    mixed = read_levels(bundle, entries, layers)
    return LayerParts(weights, activations, metrics, halved if keeps_float else None, mixed)


def _read_activation(entry: Fields, bits: int) -> ActivationCode:
    step = entry.number("step")
    if not np.finfo(np.float32).tiny < step < np.finfo(np.float32).max:
        raise BundleError(f"{entry.where}: the step {step} is out of range; pack the model again")
    return ActivationCode(step, entry.whole("zero_point", 0, 2**bits - 1), bits)


def _read_codes(bundle: Bundle, i: int, entry: Fields, layer: LinearLayer) -> QuantisedWeights:
    bits = entry.whole("bits", 2, 8)
    groups, rows, outputs = layer.weight.shape
    block_rows = entry.whole("block_rows", 1)
    blocks = -(-rows // block_rows)
    scales = array_of(bundle, f"scales/{i}", ("<f4",), (groups, blocks, outputs))
    book = None
    if entry.content.get("codebook") is not None:
        name = f"codebooks/{entry.whole('codebook', 0, 4096)}"
        book = array_of(bundle, name, ("<f4",), (None,)).astype(np.float32)
    codes = _codes(bundle, i, bits, layer.weight.shape, signed=book is None)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if book is None else (0, len(book) - 1)
    if codes.min() < low or codes.max() > high:
        raise BundleError(
            f"{bundle.name}: layer {layer.name!r} has codes from {codes.min()} to {codes.max()}, "
            f"its {bits} bits allow {low} to {high}; the bundle is damaged: pack the model again"
        )
    return QuantisedWeights(codes, scales.astype(np.float32), block_rows, bits, book)


def _codes(
    bundle: Bundle, i: int, bits: int, shape: tuple[int, ...], *, signed: bool
) -> NDArray[np.int8]:
    if bits > NIBBLE_BITS:
        return array_of(bundle, f"codes/{i}", ("|i1",), shape).astype(np.int8)
    packed = array_of(bundle, f"codes/{i}", ("|u1",), (None,)).astype(np.uint8)
    return unpack_nibbles(packed, shape, signed=signed)
