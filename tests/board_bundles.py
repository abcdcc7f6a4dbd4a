"""The bundles that an older board's environment runs its tests with, and the network in them.

They are made in the development environment (`tests.tflite_bundles`): a board has no schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.store.bundle import open_bundle
from agent.store.package import Package, read_package
from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from tests.agent_stores import GRAPH
from tests.small_networks import samples_for

SAMPLES = 64
PRE, POST = "pre-activation", "post-activation"

BUNDLES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "int8": (PRE, {"scheme": "int8"}),
    "int8-after": (POST, {"scheme": "int8"}),
    "int4-stored": (PRE, {"scheme": "int4-tensor", "references_as": "stored"}),
    "int4-recomputed": (PRE, {"scheme": "int4-tensor", "references_as": "recomputed"}),
    "int4-moments": (PRE, {"scheme": "int4-tensor", "references_as": "moments"}),
}
"""By name: where surrogates are added, and what the network was packed with."""

ALL = ("--branches", "all")

REAL: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "resnet8-int4": (
        "resnet8_float.tflite",
        "cifar10.npz",
        ("--key", "train", "--scheme", "int4", *ALL),
    ),
    "resnet8-file": (
        "resnet8_int8.tflite",
        "cifar10.npz",
        ("--key", "train", "--surrogates-at", POST),
    ),
    "keywords-int4": ("kws_float.tflite", "kws.npz", ("--scheme", "int4-tensor", *ALL)),
    "keywords-file": ("kws_int8.tflite", "kws.npz", ("--surrogates-at", POST)),
}
"""Of real models, by name: the model, the samples, and how it is packed."""

CAPACITIES = {"first": 4, "depthwise": 0, "strided": 3, "head": 4}
"""By layer, the rank that its branch has room for."""


def _padded_as_tflite_does() -> Graph:
    nodes = {node.name: node for node in GRAPH.nodes}
    attributes = {**nodes["strided"].attributes, "pads": (0, 0, 1, 1)}
    nodes["strided"] = replace(nodes["strided"], attributes=attributes)
    return replace(GRAPH, nodes=tuple(nodes.values()))


SMALL = _padded_as_tflite_does()
"""The float network."""


def labelled(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Samples, and what the float network says of them."""
    x, logits = samples_for(SMALL, count, seed), decision_graph(SMALL)
    return x, run(logits, x)[logits.output].argmax(axis=1)


def bundle_in(folder: Path, name: str) -> Path:
    """The file of one of `BUNDLES`."""
    return folder / f"{name}.npp"


def package_in(folder: Path, name: str) -> Package:
    """What is in it."""
    return read_package(open_bundle(bundle_in(folder, name)))
