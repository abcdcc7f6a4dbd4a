"""References in a bundle: samples and what was stored of their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.errors import BundleError
from agent.store.bundle import Bundle
from agent.store.fields import Fields, array_of
from agent.store.npy import Array
from calib.graph.linear import LinearLayer
from calib.references import Indices, RecomputedReferences, References, SampleCodes
from calib.stored_references import StoredLayer, StoredReferences

_POSITIONS = ("<u2", "<u4")
_MOST_INPUT_VALUES = 2**24
"""Of bundles without samples, where no array's size says what the network takes."""


def write_references(
    references: References, layers: Sequence[LinearLayer]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The document's entry and the arrays of references of any form.

    Raises:
        BundleError: references of a form that a bundle cannot hold.
    """
    from agent.store.package_moments import write_moments  # noqa: PLC0415 - boards read alone
    from calib.drawn_references import DrawnReferences  # noqa: PLC0415

    if isinstance(references, DrawnReferences):
        return write_moments(references, layers)
    if not isinstance(references, StoredReferences | RecomputedReferences):
        raise BundleError(f"references of type {type(references).__name__} cannot be stored")
    samples = references.samples
    entry: dict[str, Any] = {
        "held_back": references.held_back,
        "count": references.count,
        "sample_scale": float(samples.scale),
        "sample_offset": float(samples.offset),
    }
    arrays: dict[str, Array] = {"references/samples": samples.codes}
    if isinstance(references, RecomputedReferences):
        return entry, arrays
    arrays["references/answers"] = references.answers
    entry["layers"] = []
    for i, layer in enumerate(layers):
        stored = references.layers[layer.name]
        scales = {"row_scale": stored.row_scale, "output_scale": stored.output_scale}
        entry["layers"].append({name: float(scale) for name, scale in scales.items()})
        arrays[f"references/rows/{i}"] = stored.rows
        arrays[f"references/outputs/{i}"] = stored.outputs
        arrays[f"references/gradients/{i}"] = stored.gradients
        arrays[f"references/gradient_scales/{i}"] = stored.gradient_scales
        arrays[f"references/positions/{i}"] = references.positions[layer.name]
    return entry, arrays


def read_samples(bundle: Bundle, document: Fields, shape: tuple[int, ...]) -> SampleCodes:
    """The samples, none where moments stand for them.

    Args:
        bundle: where they are.
        document: its document.
        shape: of the network's input, 1 in front; checked before anything of that size is made.

    Raises:
        BundleError: they do not fit the network or the document.
    """
    entry = document.inner("references")
    if document.text("references_as") == "moments":
        if math.prod(shape) > _MOST_INPUT_VALUES:
            raise BundleError(
                f"{bundle.name}: the network takes {math.prod(shape)} numbers, at most "
                f"{_MOST_INPUT_VALUES} can be; it is damaged: pack the model again"
            )
        return SampleCodes(np.zeros((0, *shape[1:]), np.uint8))
    count = entry.whole("count", 2)
    entry.whole("held_back", 1, count - 1)
    codes = array_of(bundle, "references/samples", ("|u1", "<f2"), (count, *shape[1:]))
    return SampleCodes(codes, entry.number("sample_scale"), entry.number("sample_offset"))


def read_stored(
    bundle: Bundle,
    entry: Fields,
    layers: Sequence[LinearLayer],
    samples: SampleCodes,
    answer_shape: tuple[int, ...],
) -> StoredReferences:
    """Stored references for these layers.

    Raises:
        BundleError: an array or a number does not fit its layer.
    """
    held_back, count = entry.whole("held_back"), entry.whole("count")
    entries = entry.items("layers")
    if len(entries) != len(layers):
        raise BundleError(
            f"{entry.where} are of {len(entries)} layers, the network has {len(layers)}; "
            "pack the model again"
        )
    answers = array_of(bundle, "references/answers", ("<f4",), (count, *answer_shape[1:]))
    stored: dict[str, StoredLayer] = {}
    positions: dict[str, Indices] = {}
    for i, (layer, scales) in enumerate(zip(layers, entries, strict=True)):
        at = array_of(bundle, f"references/positions/{i}", _POSITIONS, (count, None))
        if at.shape[1] < 1 or int(at.max()) >= layer.positions:
            raise BundleError(
                f"{bundle.name}: layer {layer.name!r} has {layer.positions} positions, its "
                "references name others; the bundle is damaged: pack the model again"
            )
        positions[layer.name] = at.astype(np.uint16 if at.dtype.itemsize == 2 else np.uint32)
        stored[layer.name] = _read_layer(bundle, i, scales, layer, (held_back, *at.shape))
    return StoredReferences(stored, answers.astype(np.float32), samples, held_back, positions)


def _read_layer(
    bundle: Bundle, i: int, scales: Fields, layer: LinearLayer, counts: tuple[int, ...]
) -> StoredLayer:
    held_back, samples, places = counts
    fit = samples - held_back
    row = (fit, places, layer.groups, layer.inputs)
    output, gradient = (samples, places, layer.outputs), (fit, places, layer.outputs)
    arrays = {
        name: array_of(bundle, f"references/{name}/{i}", (kind,), shape)
        for name, kind, shape in (
            ("rows", "|i1", row),
            ("outputs", "<f2", output),
            ("gradients", "|i1", gradient),
            ("gradient_scales", "<f4", (fit,)),
        )
    }
    return StoredLayer(
        rows=arrays["rows"].astype(np.int8),
        row_scale=scales.number("row_scale"),
        outputs=arrays["outputs"].astype(np.float16),
        output_scale=scales.number("output_scale"),
        gradients=arrays["gradients"].astype(np.int8),
        gradient_scales=arrays["gradient_scales"].astype(np.float32),
    )
