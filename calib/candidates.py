"""What is known of each sample that may be chosen, before any is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from calib.decision import Decision, log_softmax
from calib.graph.linear import LinearLayer
from calib.references import ReferenceBlock
from calib.representatives import view
from calib.sensitivity import Sensitivity, joined, predict

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Candidates:
    """Facts about n samples; all of them come from the pass that measures sensitivities."""

    sensitivity: Sensitivity
    error_powers: Floats
    """[n, layers]: squared local errors, summed."""

    clean_powers: Floats
    """[n, layers]: squared clean outputs, summed."""

    features: Floats
    """[n, d]: clean inputs of the last layer, the mean of their positions."""

    views: Mapping[str, Floats]
    """By layer, [n, p, k]: clean rows along fixed directions, for `calib.representatives`."""

    losses: Floats | None = None
    """[n]: of the chip's answers, where it ran the whole network."""

    entropies: Floats | None = None
    """[n]: of the class probabilities that the chip gives, in nats; None without classes too."""

    margins: Floats | None = None
    """[n]: of the clean answers; None where there are no classes."""

    @property
    def indices(self) -> NDArray[np.integer]:
        """The samples' numbers in the bundle, [n]."""
        return self.sensitivity.indices

    @property
    def rises(self) -> Floats:
        """The samples' sensitivities, [n]."""
        return self.sensitivity.rises

    @property
    def error_norms(self) -> Floats:
        """[n]: root of the mean over layers of local error power over the layer's clean power."""
        clean = self.clean_powers.mean(axis=0)
        return np.asarray(np.sqrt((self.error_powers / np.where(clean > 0, clean, 1.0)).mean(1)))

    def of(self, indices: NDArray[np.integer]) -> Candidates:
        """The facts of some of the samples, by their numbers, in ascending order."""
        at = np.flatnonzero(np.isin(self.indices, indices))
        at = at[np.argsort(self.indices[at])]
        facts = {name: values[at] for name, values in _facts(self).items()}
        views = {name: seen[at] for name, seen in self.views.items()}
        return Candidates(self.sensitivity.at(at), views=views, **facts)


def nobody() -> Candidates:
    """No samples at all."""
    none = np.zeros(0)
    sensitivity = Sensitivity(np.zeros(0, np.intp), none, {}, none)
    return Candidates(sensitivity, none[:, None], none[:, None], none[:, None], {})


def look_at(
    layers: Sequence[LinearLayer],
    block: ReferenceBlock,
    local_errors: Mapping[str, Floats],
    decision: Decision,
    answers: Floats | None,
) -> Candidates:
    """The facts of a block of samples.

    Args:
        layers: the network's layers.
        block: their references, with gradients.
        local_errors: by layer, [n, p, m].
        decision: how answers are judged.
        answers: what the chip answers, where it was asked.
    """
    rows = block.layers[layers[-1].name].rows
    sensitivity = predict(layers, block, local_errors, decision)
    return Candidates(
        sensitivity=sensitivity,
        error_powers=_powers([local_errors[layer.name] for layer in layers]),
        clean_powers=_powers([block.layers[layer.name].outputs for layer in layers]),
        features=rows.mean(axis=1).reshape(len(rows), -1),
        views={layer.name: view(block.layers[layer.name].rows) for layer in layers},
        losses=None if answers is None else decision.losses(block.answers, answers),
        entropies=_entropies(answers) if answers is not None and decision.classes else None,
        margins=sensitivity.margins if decision.classes else None,
    )


def together(parts: Sequence[Candidates]) -> Candidates:
    """The facts of several blocks as one."""
    facts = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _facts(parts[0])
    }
    views = {name: np.concatenate([part.views[name] for part in parts]) for name in parts[0].views}
    return Candidates(joined([part.sensitivity for part in parts]), views=views, **facts)


def _facts(candidates: Candidates) -> dict[str, Floats]:
    """All arrays that there are, sensitivity apart."""
    found = {field.name: getattr(candidates, field.name) for field in fields(candidates)}
    return {name: values for name, values in found.items() if isinstance(values, np.ndarray)}


def _powers(tensors: Sequence[Floats]) -> Floats:
    """The summed squares of each sample [n, p, m] of each tensor: [n, tensors]."""
    with np.errstate(under="ignore"):  # next to others of a layer, such a square is zero
        return np.stack([(x.astype(np.float64) ** 2).sum(axis=(1, 2)) for x in tensors], axis=1)


def _entropies(answers: Floats) -> Floats:
    logarithms = log_softmax(answers.astype(np.float64).reshape(len(answers), -1))
    with np.errstate(under="ignore", invalid="ignore"):
        return np.asarray(-(np.exp(logarithms) * logarithms).sum(axis=1))
