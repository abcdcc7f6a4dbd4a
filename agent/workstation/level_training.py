"""Training of levels for `pack`: samples, aim, and a file from which an interrupted one goes on."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.data_file import Data
from agent.errors import InputError
from agent.store.durable import replace_file
from calib.decision import check_labels, decision_graph
from calib.graph.executor import check_samples, run
from calib.graph.model import Array, Graph
from calib.losses import Loss, cross_entropy, distillation, one_hot
from calib.prepare import PackOptions, check_data
from calib.references import BLOCK_SAMPLES
from calib.train.level_network import Lesson
from calib.train.level_stages import Journal
from calib.train.levels import LevelTraining

JUDGING_SHARE = 0.1
MOST_JUDGES = 128
FEWEST_SAMPLES = 16
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class TrainingChoice:
    """What the user of `pack` chooses."""

    data: Path
    epochs: int
    file: Path
    """Keeps the state after each epoch."""

    warn: Callable[[str], None]
    """Is told of a training that starts anew, goes on, or stops before its end."""

    tell: Callable[[int, int], None]
    """Is told how many epochs of a stage are done, and of how many."""


def journal_path(bundle: Path) -> Path:
    """Where a training that makes this bundle keeps its state."""
    return bundle.with_name(f"{bundle.name}.training")


def level_training(
    graph: Graph, data: Data, options: PackOptions, choice: TrainingChoice
) -> LevelTraining:
    """What trains a network's levels, from where an interrupted training stopped.

    Args:
        graph: the float network; it answers what is learned.
        data: samples, and labels where there are any: half of the aim then.
        options: what the bundle is packed with.
        choice: epochs of both stages together, and whom to tell.

    Raises:
        InputError: too few samples.
        CalibError: samples or labels that do not fit the network.
    """
    if len(data.x) < FEWEST_SAMPLES:
        raise InputError(
            f"{len(data.x)} samples are too few to train with; give at least {FEWEST_SAMPLES}"
        )
    check_samples(graph, data.x)
    check_data(graph, data.x, data.y)
    loss = aim(graph, data)
    judging = min(max(round(JUDGING_SHARE * len(data.x)), 4), MOST_JUDGES)
    if data.y is None:
        choice.warn(f"{choice.data.name} has no labels: the float network's answers are the aim")
    lesson = Lesson(data.x, loss, len(data.x) - judging, choice.epochs, options.seed)
    key = _fingerprint(graph, data, options, choice.epochs)
    kept = _read(choice.file, key, choice.warn)
    journal = Journal(kept, lambda found: _write(choice.file, key, found), choice.warn, choice.tell)
    return LevelTraining(lesson, journal)


def aim(graph: Graph, data: Data) -> Loss:
    """The float network's own answers; with labels, the mean of that and of the labels' loss."""
    cut = decision_graph(graph)
    blocks = [
        run(cut, data.x[start : start + BLOCK_SAMPLES])[cut.output]
        for start in range(0, len(data.x), BLOCK_SAMPLES)
    ]
    answers = np.concatenate(blocks)
    classes = check_data(graph, data.x, data.y).classes
    teacher = distillation(answers, classes=classes)
    if data.y is None or not classes:
        return teacher
    check_labels(data.y, len(data.x), answers[0].size)
    labels = cross_entropy(one_hot(data.y, answers.shape[1]))

    def both(found: Array, indices: Array) -> tuple[float, Array]:
        parts = (teacher(found, indices), labels(found, indices))
        return sum(part[0] for part in parts) / 2, (parts[0][1] + parts[1][1]) / 2

    return both


def _fingerprint(graph: Graph, data: Data, options: PackOptions, epochs: int) -> str:
    """Of all that the result depends on."""
    digest = hashlib.sha256(repr((options, epochs, graph.nodes)).encode())
    for name in sorted(graph.constants):
        digest.update(np.ascontiguousarray(graph.constants[name]).tobytes())
    for array in (data.x, data.y):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _write(file: Path, key: str, kept: Mapping[str, Array]) -> None:
    content = io.BytesIO()
    entries: dict[str, Any] = {"key": np.array(key), **kept}
    np.savez(content, **entries)
    replace_file(file, content.getvalue())


def _read(file: Path, key: str, warn: Callable[[str], None]) -> dict[str, Array]:
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except _DAMAGE:
        warn(f"{file.name} is damaged: training starts anew")
        return {}
    if str(found.pop("key", "")) != key:
        warn(f"{file.name} was begun with another model, data or options: training starts anew")
        return {}
    warn(f"training goes on from {file.name}")
    return found
