"""The ways to run one network that are compared: float, plain integers, and with surrogates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.runtimes.onnx_bytes import onnx_model
from agent.runtimes.onnx_session import OnnxSession, imported
from calib.budget import Budget
from calib.decision import decision_graph
from calib.factor_codes import encode_factors
from calib.factors import Factors, no_factors
from calib.graph.model import Graph
from calib.integer_graph import integer_graph
from calib.integer_weights import is_integer
from runtimes.subjects import PackedSubject, Scores, calibrated, classes, scores

PLAIN = "plain integers"
"""Without surrogate: what the others are compared with."""

SLOWDOWNS = (1.25, 1.5)


@dataclass(frozen=True)
class Variant:
    """A graph for onnxruntime, and what it is worth."""

    name: str
    graph: Graph
    integer: bool
    scores: Scores
    branches: int
    """Layers with a branch beside them."""

    folded: int
    """Layers with a branch in their weights."""

    factor_bytes: int

    @property
    def model(self) -> bytes:
        """As a file."""
        return onnx_model(self.graph, [self.graph.output])

    def load(self) -> OnnxSession:
        """Ready to run."""
        return OnnxSession(imported(), self.graph, [self.graph.output], integer=self.integer)


def variants(one: PackedSubject) -> Iterator[Variant]:
    """Float first, then plain integers, then surrogates from the fewest to all."""
    subject = one.subject
    graph = decision_graph(subject.graph)
    yield Variant(
        name="float",
        graph=graph,
        integer=False,
        scores=scores(subject, subject.clean),
        branches=0,
        folded=0,
        factor_bytes=0,
    )
    yield _variant(one, PLAIN, no_factors(one.network.layers), fold=True)
    folding, beside = one.runtime(), one.runtime(fold=False)
    yield _variant(
        one, "gains and offsets", calibrated(one, folding, budget=Budget(rank=0))[0], fold=True
    )
    for limit in SLOWDOWNS:
        factors, _ = calibrated(one, beside, budget=Budget(slowdown=limit))
        yield _variant(one, f"branches beside, at most {limit} times", factors, fold=False)
    factors, _ = calibrated(one, beside)
    yield _variant(one, "branches beside, everywhere", factors, fold=False)
    if one.network.scheme != "int8":
        factors, _ = calibrated(one, folding)
        yield _variant(one, "branches in the weights", factors, fold=True)


def _variant(one: PackedSubject, name: str, factors: Factors, *, fold: bool) -> Variant:
    network = one.network
    graph = integer_graph(network, one.outputs, factors, fold=fold)
    beside = sum(node.name.endswith("@both") for node in graph.nodes)
    ranked = sum(bool(factors[layer.name].rank) for layer in network.layers)
    return Variant(
        name=name,
        graph=graph,
        integer=all(map(is_integer, network.weights.values())),
        scores=scores(one.subject, classes(one.runtime(fold=fold), one.subject, factors)),
        branches=beside,
        folded=ranked - beside,
        factor_bytes=len(encode_factors(factors, network.layers)),
    )
