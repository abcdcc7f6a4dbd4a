"""A tiny classifier on a deviating chip, as the benchmark of recovery sees it."""

from __future__ import annotations

from functools import cache

import numpy as np
from recovery.cases import Case
from recovery.samples import Samples
from recovery.subject import Buffered, Material, Subject

from calib.decision import decision_graph
from calib.graph.executor import run
from calib.graph.model import Graph
from tests.small_networks import classifier, packed, samples_for

MISMATCH = Case("tiny", "tiny.tflite", "none", "int4-tensor", "mismatch-20")
COUNT, HELD_BACK = 128, 32


def _named(logits: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(run(logits, x)[logits.output].argmax(axis=1))


@cache
def subject(groups: int = 6) -> Subject:
    """Chip 5, of 20 % mismatch; its second layer has so many groups."""
    graph = classifier(groups=groups)
    options = {"held_back": HELD_BACK, "references": COUNT - HELD_BACK, "scheme": "int4-tensor"}
    with np.errstate(under="ignore"):
        network = packed(graph, COUNT, labels=True, **options)
    logits, x = decision_graph(graph), samples_for(graph, COUNT)
    known = Samples(x, _named(logits, x))
    test = samples_for(graph, 64, seed=9)
    material = Material(MISMATCH, logits, known, Samples(test, _named(logits, test)))
    return Subject(Buffered(material, 0, known, network), 5)
