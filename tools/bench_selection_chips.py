"""The chips of `bench_selection`: models, their samples, a bundle for each chip, and its tests."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from train_digits import split

from agent.measurement import candidates
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from agent.workstation.demo_bundle import DEMO_BUNDLE
from calib.candidates import Candidates
from calib.decision import decision_graph
from calib.factors import Factors
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.references import ReferenceBlock, References, fit_indices, in_blocks
from device_models.array import Chip, State
from device_models.presets import preset

Row = dict[str, Any]
Floats = NDArray[np.floating]
REFERENCES, HELD_BACK = 256, 32
OPTIONS = PackOptions(
    "int4-tensor", references=REFERENCES, held_back=HELD_BACK, budget_bytes=64 * 2**20
)


@dataclass(frozen=True)
class Case:
    """A model, where its samples are, and a chip that hurts it."""

    name: str
    device: str
    test_samples: int


CASES = (
    Case("ResNet-8", "mismatch-10", 500),
    Case("keywords", "mismatch-20", 300),
    Case("digits", "mismatch-40", 400),
)


@dataclass(frozen=True)
class Material:
    """A case's float network and samples."""

    graph: Graph
    pool_x: Floats
    pool_y: NDArray[np.integer]
    test_x: Floats | None
    """None: what is left of the pool is tested."""

    test_y: NDArray[np.integer] | None


@cache
def material(name: str) -> Material:
    """Read a case's float network and samples."""
    if name == "digits":
        learnt, held_out = split(np.random.default_rng(0))
        graph = read_package(open_bundle(DEMO_BUNDLE)).network.float_graph
        assert graph is not None
        return Material(graph, learnt.images, learnt.labels, held_out.images, held_out.labels)
    folder = Path(os.environ["NPP_DATA"])
    if name == "keywords":
        file = np.load(folder / "kws.npz")
        graph = load_model(folder / "mlperf-tiny" / "kws_float.tflite")
        return Material(graph, file["x"].astype(np.float32), file["y"], None, None)
    file = np.load(folder / "cifar10.npz")
    graph = load_model(folder / "mlperf-tiny" / "resnet8_float.tflite")
    train_x, test_x = (file[key].astype(np.float32) for key in ("train_x", "test_x"))
    return Material(graph, train_x, file["train_y"], test_x, file["test_y"])


@dataclass(frozen=True)
class Kept:
    """References that are computed once and kept in memory: many calibrations ask for the same."""

    references: References
    blocks: dict[tuple[Any, ...], ReferenceBlock]

    @property
    def count(self) -> int:
        """All samples."""
        return self.references.count

    @property
    def held_back(self) -> int:
        """How many only judge."""
        return self.references.held_back

    def block(
        self,
        indices: NDArray[np.integer],
        *,
        with_gradients: bool = False,
        with_rows: bool = True,  # noqa: ARG002  # all is kept, so all is there
    ) -> ReferenceBlock:
        """The references of a few samples."""
        key = (with_gradients, *indices.tolist())
        if key not in self.blocks:
            self.blocks[key] = self.references.block(indices, with_gradients=with_gradients)
        return self.blocks[key]


@dataclass(frozen=True)
class Bench:
    """One chip with its own bundle, and what it is tested on."""

    network: PackedNetwork
    runtime: CimRuntime
    test_x: Floats
    test_y: NDArray[np.integer]
    clean: Floats
    """The float network's logits."""

    @classmethod
    def of(cls, case: Case, seed: int, tests: int) -> Bench:
        """Draw samples, pack and write the chip."""
        given = material(case.name)
        order = np.random.default_rng(seed).permutation(len(given.pool_x))
        packed, rest = order[: REFERENCES + HELD_BACK], order[REFERENCES + HELD_BACK :]
        if given.test_x is None or given.test_y is None:
            test_x, test_y = given.pool_x[rest[:tests]], given.pool_y[rest[:tests]]
        else:
            test_x, test_y = given.test_x[-tests:], given.test_y[-tests:]
        network = prepare(given.graph, given.pool_x[packed], given.pool_y[packed], OPTIONS)
        network = replace(network, references=Kept(network.references, {}))
        chip = Chip(preset(case.device), seed)
        runtime = CimRuntime(network, chip, State(), np.random.default_rng(seed))
        logits = decision_graph(given.graph)
        blocks = [test_x[i : i + 50] for i in range(0, tests, 50)]
        clean = np.concatenate([run(logits, x)[logits.output] for x in blocks])
        return cls(network, runtime, test_x, test_y, clean)

    def figures(self, factors: Factors) -> Row:
        """Recovery, agreement and divergence on the test samples."""
        found = self.runtime.run(self.test_x, factors, {}).answers
        named, clean = found.argmax(axis=1), self.clean.argmax(axis=1)
        return {
            "recovery": float((named == self.test_y).mean() / (clean == self.test_y).mean()),
            "agreement": float((named == clean).mean()),
            "kl": float(self.network.decision.losses(self.clean, found).mean()),
        }

    def candidates(self, factors: Factors, *, with_answers: bool) -> Candidates:
        """What is known of the references."""
        indices = fit_indices(self.network.references)
        return candidates(self.runtime, self.network, factors, indices, with_answers=with_answers)

    def margin_changes(self, factors: Factors) -> Floats:
        """How much the chip really changes the references' margins."""
        references = self.network.references
        changes = []
        for block in in_blocks(references, fit_indices(references), with_gradients=True):
            off = self.runtime.run(block.inputs, factors, {}).answers - block.answers
            seeds = self.network.decision.seeds(block.answers)
            changes.append((seeds * off).sum(axis=1))
        return np.concatenate(changes)
