"""Training in stages that can be interrupted: epochs of batches, and what is kept between them.

Every epoch draws from a generator of its own, so that a training that goes on after an interrupt
ends with the same numbers as one that never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calib.adam import AdamOptions, AdamState, Weights, adam_step, start
from calib.graph.model import Array
from calib.loss_gradient import batches

Slopes = Callable[[Weights, NDArray[np.integer], np.random.Generator], tuple[float, Weights]]
"""From variables and the numbers of a batch's samples to the loss and its gradient."""

Judge = Callable[[Weights], float]
"""How bad variables are, on samples that do not train."""


@dataclass
class Journal:
    """What training keeps between epochs; whoever saves it can go on from there."""

    kept: dict[str, Array] = field(default_factory=dict)
    save: Callable[[Mapping[str, Array]], None] = lambda _kept: None
    warn: Callable[[str], None] = lambda _sentence: None
    """Is told why training stopped before its end."""

    tell: Callable[[int, int], None] = lambda _done, _of: None
    """Is told how many epochs of how many are done."""


@dataclass(frozen=True)
class Stage:
    """One stage of a training."""

    name: str
    epochs: int
    samples: int
    slopes: Slopes
    judge: Judge | None = None
    """Where there is one, the best variables are the result, else the last ones."""

    batch: int = 32
    learning_rate: float = 1.5e-3
    """The first one; it falls along half a cosine wave to zero."""

    seed: int = 0


@dataclass
class _State:
    variables: dict[str, Array]
    adam: AdamState
    best: dict[str, Array]
    least: float
    epoch: int = 0
    stopped: bool = False


@np.errstate(under="ignore")  # a number too small for its type is zero
def run_stage(stage: Stage, variables: Weights, journal: Journal) -> dict[str, Array]:
    """Train variables, from where the journal left them; the result never holds what is not finite.

    Loss or gradients that are not finite end the stage with what was good before.
    """
    state = _resumed(stage, journal) or _begun(stage, variables)
    while state.epoch < stage.epochs and not state.stopped:
        last = dict(state.variables)
        if not _epoch(stage, state):
            journal.warn(
                f"training ({stage.name}) stopped in epoch {state.epoch + 1} of {stage.epochs}: "
                "the loss or its gradient is not finite any more; the last good state is kept"
            )
            state.variables, state.stopped = last, True
        _judge(stage, state)
        state.epoch += 1
        _keep(stage, state, journal)
        journal.tell(state.epoch, stage.epochs)
    return state.best if stage.judge else state.variables


def _begun(stage: Stage, variables: Weights) -> _State:
    first = dict(variables)
    least = stage.judge(first) if stage.judge else math.inf
    return _State(first, start(first), dict(first), least)


def _epoch(stage: Stage, state: _State) -> bool:
    """Train for an epoch; False if it came to something that is not finite."""
    generator = np.random.default_rng([stage.seed, state.epoch])
    steps = stage.epochs * math.ceil(stage.samples / stage.batch)
    for indices in batches(stage.samples, stage.batch, generator):
        wave = (1 + math.cos(math.pi * min(state.adam.step / steps, 1.0))) / 2
        options = AdamOptions(learning_rate=stage.learning_rate * wave)
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
            value, slopes = stage.slopes(state.variables, indices, generator)
            if not (math.isfinite(value) and _finite(slopes)):
                return False
            state.variables, state.adam = adam_step(state.variables, slopes, state.adam, options)
        if not _finite(state.variables):
            return False
    return True


def _finite(arrays: Weights) -> bool:
    return all(np.isfinite(array).all() for array in arrays.values())


def _judge(stage: Stage, state: _State) -> None:
    if stage.judge is None:
        return
    with np.errstate(over="ignore", invalid="ignore"):  # only a number is better
        found = stage.judge(state.variables)
    if found < state.least:
        state.best, state.least = dict(state.variables), found


def _keep(stage: Stage, state: _State, journal: Journal) -> None:
    groups = {
        "now": state.variables,
        "first": state.adam.first,
        "second": state.adam.second,
        "best": state.best,
    }
    journal.kept |= {
        f"{stage.name}/{group}/{name}": np.asarray(value)
        for group, values in groups.items()
        for name, value in values.items()
    }
    numbers = (state.epoch, state.adam.step, state.least, float(state.stopped))
    journal.kept[f"{stage.name}/numbers"] = np.array(numbers, np.float64)
    journal.save(journal.kept)


def _resumed(stage: Stage, journal: Journal) -> _State | None:
    if f"{stage.name}/numbers" not in journal.kept:
        return None

    def of(group: str) -> dict[str, Array]:
        begin = f"{stage.name}/{group}/"
        found = {name: value for name, value in journal.kept.items() if name.startswith(begin)}
        return {name.removeprefix(begin): value for name, value in found.items()}

    epoch, step, least, stopped = journal.kept[f"{stage.name}/numbers"].tolist()
    adam = AdamState(int(step), of("first"), of("second"))
    return _State(of("now"), adam, of("best"), least, int(epoch), bool(stopped))
