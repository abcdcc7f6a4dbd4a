"""The gradient method: surrogates trained through the network on the chosen samples.

The chosen samples train; other references, the *validation part*, decide when to stop and which
factors were the best. Held-back samples do neither: they alone decide acceptance, after all this,
and would be no honest judges any more.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.base import Float32, Runtime, TrainableRuntime
from calib.adam import AdamOptions
from calib.factor_codes import rounded
from calib.factors import Factors
from calib.losses import distillation
from calib.packed import PackedNetwork
from calib.references import References, fit_indices, in_blocks
from calib.surrogate_training import Lesson, School, SurrogateTraining, Trained, train_surrogates

Indices = NDArray[np.integer]
VALIDATION_SAMPLES = 32
"""At most: each epoch runs them on the chip."""

VALIDATION_SHARE = 0.25
"""Of the chosen samples, where all references are chosen or nearly all."""

FROM_CLOSED_FORM = SurrogateTraining(
    epochs=15, batch=8, patience=5, adam=AdamOptions(learning_rate=1e-4)
)
FROM_ZERO = SurrogateTraining(epochs=40, batch=4, patience=10, adam=AdamOptions(learning_rate=1e-2))
"""Both by search on chips that no published figure uses: see docs/benchmarks/gradient.md."""


def refined(
    runtime: Runtime,
    network: PackedNetwork,
    chosen: Indices,
    begin: Factors,
    options: SurrogateTraining,
) -> Trained:
    """Train factors further; never worse than before on the validation part.

    Batches and validation part are drawn from the bundle's seed: the same chip and samples give the
    same factors.

    Args:
        runtime: a `TrainableRuntime`.
        network: the packed network.
        chosen: numbers of the reference samples to train on.
        begin: where training starts, rounded as stored.
        options: how long and how fast.
    """
    generator = np.random.default_rng(network.seed)
    training, validation = parts(network.references, chosen, generator)
    inputs, answers = _asked(network.references, training)
    validation_inputs, clean = _asked(network.references, validation)

    def judge(factors: Factors) -> float:
        found = runtime.run(validation_inputs, factors, {}).answers
        return float(network.decision.losses(clean, found).mean())

    school = School(
        network.decision_graph,
        network.layers,
        network.activations,
        cast("TrainableRuntime", runtime).main_paths(),
        lambda factors: rounded(factors.in_bits_of(begin), network.layers),
    )
    # References hold no labels; where they do one day, their cross entropy is the loss.
    loss = distillation(answers, classes=network.decision.classes)
    return train_surrogates(school, begin, Lesson(inputs, loss, judge), options, generator)


def parts(
    references: References, chosen: Indices, generator: np.random.Generator
) -> tuple[Indices, Indices]:
    """What trains, and what judges the training; held-back samples do neither.

    References that were not chosen judge. Where they are fewer than a quarter of the chosen, some
    of the chosen judge in their stead and do not train. A single reference does both.
    """
    others = np.setdiff1d(fit_indices(references), chosen)
    judges = generator.permutation(others)[:VALIDATION_SAMPLES]
    wanted = min(int(np.ceil(VALIDATION_SHARE * len(chosen))), VALIDATION_SAMPLES)
    lent = min(max(wanted - len(judges), 0), len(chosen) - 1)
    order = generator.permutation(chosen)
    judges = np.concatenate([judges, order[:lent]])
    training = np.sort(order[lent:])
    return training, np.sort(judges) if len(judges) else training


def _asked(references: References, indices: Indices) -> tuple[Float32, Float32]:
    """Inputs and float answers of samples."""
    blocks = [(block.inputs, block.answers) for block in in_blocks(references, indices)]
    inputs, answers = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return inputs, answers
