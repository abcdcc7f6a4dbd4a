"""How well a network answers on a chip: float, uncorrected and corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.data_file import Data
from agent.errors import InputError
from agent.loop import ClosedLoop
from agent.runtimes.base import Runtime
from calib.decision import check_labels, decision_graph
from calib.factors import Factors, no_factors
from calib.graph.executor import check_samples, run
from calib.graph.linear import shapes
from calib.graph.model import Graph
from calib.packed import PackedNetwork

Float32 = NDArray[np.float32]
BATCH_SAMPLES = 50
LARGEST_SQNR_DB = 300.0


@dataclass(frozen=True)
class Evaluation:
    """Accuracies from 0 to 1; None where there is nothing to compare with."""

    samples: int
    float_accuracy: float | None
    uncorrected: float | None
    corrected: float | None
    agreement: float | None
    """Share of samples where corrected and float answers name the same class."""

    output_sqnr_db: float | None
    """Without classes: the mean over samples of the corrected answer's SQNR against float."""


@dataclass(frozen=True)
class Batch:
    """Some samples, with what their answers are compared with."""

    x: Float32
    """[n, ...]"""

    labels: NDArray[np.int64] | None
    """[n]"""

    reference: Float32 | None
    """[n, outputs]: the float network's answers, up to the logits."""


@dataclass(frozen=True)
class Score:
    """How well certain factors answer; None where there is nothing to compare with."""

    accuracy: float | None
    agreement: float | None
    """Share of samples where these answers and the float ones name the same class."""

    output_sqnr_db: float | None
    """Without classes: the mean over samples of the answers' SQNR against float."""


@dataclass
class _Tally:
    """What the batches add up to for certain factors."""

    samples: int = 0
    right: int = 0
    agreed: int = 0
    sqnr_db: float = 0.0

    def add(self, answers: Float32, batch: Batch) -> None:
        self.samples += len(answers)
        named = answers.argmax(axis=1)
        if batch.labels is not None:
            self.right += int((named == batch.labels).sum())
        if batch.reference is not None:
            self.agreed += int((named == batch.reference.argmax(axis=1)).sum())
            self.sqnr_db += float(_sqnr_db(answers, batch.reference).sum())

    def score(self, *, labelled: bool, compared: bool, classes: bool) -> Score:
        return Score(
            accuracy=self.right / self.samples if labelled else None,
            agreement=self.agreed / self.samples if compared and classes else None,
            output_sqnr_db=self.sqnr_db / self.samples if compared and not classes else None,
        )


def evaluate(
    loop: ClosedLoop,
    data: Data,
    float_graph: Graph | None,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> Evaluation:
    """Run samples through the chip with and without its factors, and through the float network.

    Args:
        loop: the chip, its network and the active factors.
        data: samples, and labels where there are any.
        float_graph: the float network, None where there is none.
        report: is told how many samples are done, and of how many.

    Raises:
        SampleError: samples or labels that do not fit the network.
        InputError: the float network is another one.
    """
    network = loop.network
    reference = reference_graph(network, data, float_graph)
    factors = {"uncorrected": no_factors(network.layers), "corrected": loop.factors}
    classes = has_classes(network, data)
    scores = compare(loop.runtime, factors, _batches(data, reference, report), classes=classes)
    return Evaluation(
        samples=len(data.x),
        float_accuracy=scores["float"].accuracy if reference is not None else None,
        uncorrected=scores["uncorrected"].accuracy,
        corrected=scores["corrected"].accuracy,
        agreement=scores["corrected"].agreement,
        output_sqnr_db=scores["corrected"].output_sqnr_db,
    )


def compare(
    runtime: Runtime, factors: Mapping[str, Factors], batches: Iterable[Batch], *, classes: bool
) -> dict[str, Score]:
    """Run samples through the chip with each of several factors.

    Args:
        runtime: the chip.
        factors: by a name of the caller's choice.
        batches: all with labels or none, all with float answers or none; at least one.
        classes: whether answers name classes.

    Returns:
        The score of each, under its name; where there are float answers, theirs as `float`.
    """
    tallies: dict[str, _Tally] = {}
    labelled = compared = True
    for batch in batches:
        labelled, compared = batch.labels is not None, batch.reference is not None
        answers = {
            who: _flat(runtime.run(batch.x, which, {}).answers) for who, which in factors.items()
        }
        if batch.reference is not None:
            answers["float"] = batch.reference
        for who, given in answers.items():
            tallies.setdefault(who, _Tally()).add(given, batch)
    return {
        who: tally.score(labelled=labelled, compared=compared, classes=classes)
        for who, tally in tallies.items()
    }


def has_classes(network: PackedNetwork, data: Data) -> bool:
    """Whether answers name classes."""
    return network.decision.classes or data.y is not None


def reference_graph(network: PackedNetwork, data: Data, float_graph: Graph | None) -> Graph | None:
    """The float network up to its logits, once it and the data have been checked.

    Raises:
        SampleError: samples or labels that do not fit the network.
        InputError: the float network is another one.
    """
    graph = network.decision_graph
    check_samples(graph, data.x)
    shape = shapes(graph)[graph.output]
    reference = None if float_graph is None else _checked(float_graph, graph, shape)
    if data.y is not None:
        check_labels(data.y, len(data.x), shape[-1] if len(shape) == 2 else 0)
    return reference


def answers_of(graph: Graph, x: Float32) -> Float32:
    """What a network up to its logits answers, [n, outputs]."""
    return _flat(run(graph, x)[graph.output])


def slices(count: int) -> Iterator[slice]:
    """The batches of so many samples."""
    return (slice(start, start + BATCH_SAMPLES) for start in range(0, count, BATCH_SAMPLES))


def _batches(
    data: Data, reference: Graph | None, report: Callable[[int, int], None]
) -> Iterator[Batch]:
    for some in slices(len(data.x)):
        x = data.x[some]
        yield Batch(
            x,
            None if data.y is None else data.y[some],
            None if reference is None else answers_of(reference, x),
        )
        report(min(some.stop, len(data.x)), len(data.x))


def _checked(float_graph: Graph, graph: Graph, shape: Sequence[int]) -> Graph:
    """The float network up to its logits, if it takes and gives what the installed one does."""
    logits = decision_graph(float_graph)
    if logits.input.shape != graph.input.shape:
        raise InputError(
            f"the float model takes samples of shape {list(logits.input.shape)}, the installed "
            f"network {list(graph.input.shape)}: give the model that was packed"
        )
    found = shapes(logits)[logits.output]
    if found != tuple(shape):
        raise InputError(
            f"the float model answers with shape {list(found)}, the installed network with "
            f"{list(shape)}: give the model that was packed"
        )
    return logits


def _flat(answers: Float32) -> Float32:
    return answers.reshape(len(answers), -1)


def _sqnr_db(answers: Float32, reference: Float32) -> NDArray[np.float64]:
    clean, given = reference.astype(np.float64), answers.astype(np.float64)
    power = np.maximum((clean**2).sum(axis=1), 1e-30)
    ratio = ((given - clean) ** 2).sum(axis=1) / power
    return np.asarray(-10 * np.log10(np.maximum(ratio, 10 ** (-LARGEST_SQNR_DB / 10))))
