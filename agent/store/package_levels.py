"""Layers whose input channels have levels, in a bundle: one array of bytes for each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.errors import BundleError
from agent.store.bundle import Bundle
from agent.store.fields import Fields, array_of
from agent.store.npy import Array
from calib.graph.linear import LinearLayer
from calib.schemes.mixed import LARGEST_BITS, MixedLayer
from calib.schemes.mixed_bytes import LevelHead, heads_of, mixed_bytes, mixed_layer

_EXPONENT_BIAS = 128
"""Exponents are kept as whole numbers that are not negative."""


def write_levels(i: int, mixed: MixedLayer, arrays: dict[str, Array]) -> list[dict[str, Any]]:
    """The levels of the i-th layer as the document describes them; their bytes go to `arrays`."""
    arrays[f"levels/{i}"] = np.frombuffer(mixed_bytes(mixed), np.uint8)
    return [
        {
            "bits": head.bits,
            "zero_point": head.zero_point,
            "scale_exponent": head.scale_exponent + _EXPONENT_BIAS,
            "step_exponent": head.step_exponent + _EXPONENT_BIAS,
        }
        for head in heads_of(mixed)
    ]


def read_levels(
    bundle: Bundle, entries: Sequence[Fields], layers: Sequence[LinearLayer]
) -> Mapping[str, MixedLayer]:
    """The inverse of `write_levels`, for all layers; none where layers have no levels.

    Raises:
        BundleError: an array or an entry does not fit its layer, or only some layers have levels.
    """
    if not any(has_levels(entry) for entry in entries):
        return {}
    return {
        layer.name: _read(bundle, i, entry, layer)
        for i, (entry, layer) in enumerate(zip(entries, layers, strict=True))
    }


def has_levels(entry: Fields) -> bool:
    """Whether a layer's entry in the document describes levels."""
    return entry.content.get("levels") is not None


def fewest_bytes(weights: int) -> int:
    """What a layer of so many weights takes, at least."""
    return (weights + 7) // 8


def _read(bundle: Bundle, i: int, entry: Fields, layer: LinearLayer) -> MixedLayer:
    if not has_levels(entry):
        raise BundleError(
            f"{entry.where}: layer {layer.name!r} has no levels and others have; the bundle is "
            "damaged: pack the model again"
        )
    heads = [
        LevelHead(
            bits=one.whole("bits", 1, LARGEST_BITS),
            zero_point=one.whole("zero_point", 0, 2**LARGEST_BITS - 1),
            scale_exponent=one.whole("scale_exponent") - _EXPONENT_BIAS,
            step_exponent=one.whole("step_exponent") - _EXPONENT_BIAS,
        )
        for one in entry.items("levels")
    ]
    data = array_of(bundle, f"levels/{i}", ("|u1",), (None,)).tobytes()
    taps = 1 if layer.window is None else int(np.prod(layer.window.kernel))
    return mixed_layer(data, heads, layer.weight.shape, taps)
