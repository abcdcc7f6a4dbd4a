"""How well a network answers on a chip: float, uncorrected and corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.data_file import Data
from agent.errors import InputError
from agent.loop import ClosedLoop
from calib.decision import check_labels, decision_graph
from calib.factors import no_factors
from calib.graph.executor import check_samples, run
from calib.graph.linear import shapes
from calib.graph.model import Graph

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


@dataclass
class _Tally:
    """What the batches add up to."""

    right: dict[str, int] = field(default_factory=dict)
    agreed: int = 0
    sqnr_db: float = 0.0

    def add(self, answers: dict[str, Float32], labels: NDArray[np.int64] | None) -> None:
        classes = {who: values.argmax(axis=1) for who, values in answers.items()}
        if labels is not None:
            for who, named in classes.items():
                self.right[who] = self.right.get(who, 0) + int((named == labels).sum())
        if "float" in classes:
            self.agreed += int((classes["corrected"] == classes["float"]).sum())
            self.sqnr_db += float(_sqnr_db(answers["corrected"], answers["float"]).sum())


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
    graph = network.decision_graph
    check_samples(graph, data.x)
    shape = shapes(graph)[graph.output]
    reference = None if float_graph is None else _checked(float_graph, graph, shape)
    if data.y is not None:
        check_labels(data.y, len(data.x), shape[-1] if len(shape) == 2 else 0)
    factors = {"uncorrected": no_factors(network.layers), "corrected": loop.factors}
    tally = _Tally()
    for start in range(0, len(data.x), BATCH_SAMPLES):
        some = slice(start, start + BATCH_SAMPLES)
        answers = {
            who: _flat(loop.runtime.run(data.x[some], which, {}).answers)
            for who, which in factors.items()
        }
        if reference is not None:
            answers["float"] = _flat(run(reference, data.x[some])[reference.output])
        tally.add(answers, None if data.y is None else data.y[some])
        report(min(some.stop, len(data.x)), len(data.x))
    classes = network.decision.classes or data.y is not None
    return _shares(tally, len(data.x), classes=classes, compared=reference is not None)


def _shares(tally: _Tally, samples: int, *, classes: bool, compared: bool) -> Evaluation:
    right = {who: count / samples for who, count in tally.right.items()}
    return Evaluation(
        samples=samples,
        float_accuracy=right.get("float"),
        uncorrected=right.get("uncorrected"),
        corrected=right.get("corrected"),
        agreement=tally.agreed / samples if classes and compared else None,
        output_sqnr_db=tally.sqnr_db / samples if compared and not classes else None,
    )


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
