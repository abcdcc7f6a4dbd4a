"""What one repetition is about: a network packed with one buffer, on one chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.cim import CimRuntime
from calib.decision import Decision, decision_graph
from calib.factors import no_factors
from calib.graph.executor import run
from calib.graph.linear import LinearLayer, linear_layers
from calib.graph.model import Graph
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip
from recovery.cases import HELD_BACK, Case
from recovery.samples import Float32, Samples, pool_and_test, split

BATCH = 32
CLASSES = Decision(classes=True)


@dataclass(frozen=True)
class Material:
    """A case's float network and its samples."""

    case: Case
    graph: Graph
    """Up to the logits."""

    pool: Samples
    test: Samples

    @cached_property
    def clean(self) -> Float32:
        """The float network's logits of the test samples."""
        return logits(self.graph, self.test.x)

    @cached_property
    def accuracy(self) -> float:
        """The float network's, on the test samples."""
        return float((self.clean.argmax(axis=1) == self.test.y).mean())


def material(directory: Path, case: Case, images: int | None = None) -> Material:
    """Read a case's model and samples; test on the first `images` alone, if given."""
    graph = load_model(directory / "mlperf-tiny" / case.model)
    pool, test = pool_and_test(directory, case)
    return Material(case, decision_graph(graph), pool, test[:images])


def logits(graph: Graph, x: Float32) -> Float32:
    """The float network's answers, a few samples at a time."""
    blocks = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    return np.concatenate([run(graph, block)[graph.output] for block in blocks])


@dataclass(frozen=True)
class Buffered:
    """A case packed with one buffer: what all chips share."""

    material: Material
    buffer: int
    samples: Samples
    network: PackedNetwork
    kept: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    """What methods have computed that does not depend on the chip, by its name and layer."""

    @property
    def references(self) -> Samples:
        """The samples that may take part in a fit."""
        return self.samples[HELD_BACK:]

    @property
    def held_back(self) -> Samples:
        """The samples that only judge."""
        return self.samples[:HELD_BACK]

    @cached_property
    def float_layers(self) -> Mapping[str, LinearLayer]:
        """The float network's linear layers by name."""
        return {layer.name: layer for layer in linear_layers(self.material.graph)}

    @cached_property
    def clean(self) -> Mapping[str, Float32]:
        """Inputs and outputs of all layers, clean, on the references: tensors by name."""
        layers = self.network.layers
        names = {name for layer in layers for name in (layer.input, layer.output)}
        return run(self.material.graph, self.references.x, keep=names)


def buffered(given: Material, buffer: int) -> Buffered:
    """Pack a case's network with one buffer."""
    samples, _ = split(given.pool, buffer)
    options = PackOptions(scheme=given.case.scheme)
    network = prepare(given.graph, samples.x, samples.y, options)
    return Buffered(given, buffer, samples, network)


@dataclass(frozen=True)
class Subject:
    """One chip that runs a packed network."""

    shared: Buffered
    chip: int

    @property
    def network(self) -> PackedNetwork:
        """What the chip runs."""
        return self.shared.network

    @property
    def case(self) -> Case:
        """The row of the table."""
        return self.shared.material.case

    def runtime(self) -> CimRuntime:
        """The chip, just switched on: read noise begins anew."""
        model, generator = self.case.chip_model, np.random.default_rng(self.chip)
        return CimRuntime(self.network, Chip(model, self.chip), self.case.state, generator)

    @property
    def witness(self) -> float:
        """What the uncorrected chip answers to one sample, as one number: is it still the same?"""
        nothing = no_factors(self.network.layers)
        answers = self.runtime().run(self.shared.references.x[:1], nothing, {}).answers
        return float(np.abs(answers).sum())
