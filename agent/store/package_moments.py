"""Moments of inputs in a bundle, in the place of samples; most bundles have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.errors import BundleError
from agent.store.bundle import Bundle
from agent.store.fields import Fields, array_of
from agent.store.npy import Array
from calib.drawn_references import DrawnReferences
from calib.graph.linear import LinearLayer
from calib.input_moments import LOADING_STEPS, InputMoments
from calib.schemes.activations import ActivationCode

_MOST_DRAWS, _MOST_ROWS = 200_000, 4096


def write_moments(
    references: DrawnReferences, layers: Sequence[LinearLayer]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The document's entry and the arrays of moments."""
    arrays: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        moments = references.moments[layer.name]
        arrays[f"moments/means/{i}"] = moments.means
        arrays[f"moments/deviations/{i}"] = moments.deviations
        arrays[f"moments/loadings/{i}"] = moments.loadings
    entry = {
        "held_back": references.held_back,
        "count": references.count,
        "samples": references.samples,
    }
    return entry, arrays


def read_moments(
    bundle: Bundle,
    document: Fields,
    layers: Sequence[LinearLayer],
    activations: Mapping[str, ActivationCode],
) -> DrawnReferences:
    """References that are drawn from moments.

    Args:
        bundle: where the arrays are.
        document: its document.
        layers: of the float network.
        activations: by layer.

    Raises:
        BundleError: an array or a number does not fit its layer.
    """
    entry = document.inner("references")
    count = entry.whole("count", 2, _MOST_DRAWS)
    return DrawnReferences(
        layers=layers,
        activations=activations,
        moments={la.name: _read_moments_of(bundle, i, la) for i, la in enumerate(layers)},
        samples=entry.whole("samples", 1),
        count=count,
        held_back=entry.whole("held_back", 1, count - 1),
        rows=document.whole("positions_per_sample", 1, _MOST_ROWS),
        seed=document.whole("seed", 0, 2**63 - 1),
    )


def _read_moments_of(bundle: Bundle, i: int, layer: LinearLayer) -> InputMoments:
    shape = (layer.groups, layer.inputs)
    means = array_of(bundle, f"moments/means/{i}", ("<f2",), shape)
    deviations = array_of(bundle, f"moments/deviations/{i}", ("<f2",), shape)
    loadings = array_of(bundle, f"moments/loadings/{i}", ("|i1",), (*shape, None))
    if float(deviations.min()) < 0 or int(loadings.min(initial=0)) < -LOADING_STEPS:
        raise BundleError(
            f"{bundle.name}: layer {layer.name!r} has negative deviations or loadings below -1 in "
            "its moments; the bundle is damaged: pack the model again"
        )
    if loadings.shape[2] > layer.inputs:
        raise BundleError(
            f"{bundle.name}: layer {layer.name!r} has {layer.inputs} inputs, and moments of rank "
            f"{loadings.shape[2]}; the bundle is damaged: pack the model again"
        )
    return InputMoments(
        means.astype(np.float16), deviations.astype(np.float16), loadings.astype(np.int8)
    )
