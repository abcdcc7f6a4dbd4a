"""Moments of what layers are given: all that a bundle without samples knows of its samples.

Of each layer the mean, the spread and the correlations of its inputs, as a rectified Gaussian with
correlations of low rank plus diagonal. Numbers are in steps of the layer's activation code from its
lowest value, so that they suit half precision whatever the network's scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.graph.linear import LinearLayer
from calib.loadings import loadings_of
from calib.rectified import behind, correlation_behind
from calib.references import Float32, ReferenceBlock
from calib.row_sums import RowSums
from calib.schemes.activations import ActivationCode

LOADING_STEPS = 127
_LARGEST = 60_000.0
"""What half precision holds with room to spare."""


@dataclass(frozen=True)
class InputMoments:
    """A layer's inputs: the Gaussian behind them, which is clipped to the activation's range."""

    means: NDArray[np.float16]
    """[groups, d]"""

    deviations: NDArray[np.float16]
    """[groups, d]"""

    loadings: NDArray[np.int8]
    """[groups, d, r]: times 1/127, how far each input goes with each of r common causes."""

    @property
    def bytes(self) -> int:
        """What they take."""
        return self.means.nbytes + self.deviations.nbytes + self.loadings.nbytes

    def drawn(self, rows: int, code: ActivationCode, generator: np.random.Generator) -> Float32:
        """Rows [rows, groups, d] with these moments, within the range of the code."""
        groups, inputs, rank = self.loadings.shape
        common = generator.standard_normal((rows, groups, rank), np.float32)
        own = generator.standard_normal((rows, groups, inputs), np.float32)
        loadings = self.loadings.astype(np.float32) / np.float32(LOADING_STEPS)
        own *= np.sqrt(np.maximum(1 - np.square(loadings).sum(axis=-1), 0))
        standard = own + np.einsum("ngr,gdr->ngd", common, loadings, optimize=True)
        steps = self.means.astype(np.float32) + self.deviations.astype(np.float32) * standard
        np.clip(steps, 0, 2**code.bits - 1, out=steps)
        return np.asarray((steps - np.float32(code.zero_point)) * np.float32(code.step))


def moment_bytes(layers: Sequence[LinearLayer], rank: int) -> int:
    """Bytes of the moments of layers."""
    return sum(layer.groups * layer.inputs * (4 + min(rank, layer.inputs)) for layer in layers)


def input_moments(
    layers: Sequence[LinearLayer],
    activations: Mapping[str, ActivationCode],
    blocks: Iterable[ReferenceBlock],
    rank: int,
) -> dict[str, InputMoments]:
    """The moments of the layers' clean inputs.

    Args:
        layers: whose.
        activations: by layer, in whose steps and range values are counted.
        blocks: references of all samples.
        rank: of the correlations; less where a row is shorter.
    """
    sums = {layer.name: [RowSums(layer.inputs) for _ in range(layer.groups)] for layer in layers}
    for block in blocks:
        for layer in layers:
            steps = _in_steps(block.layers[layer.name].rows, activations[layer.name])
            for group, gathered in enumerate(sums[layer.name]):
                gathered.add(steps[:, group])
    return {
        name: _joined([_of_group(one, rank) for one in groups]) for name, groups in sums.items()
    }


def _in_steps(rows: Float32, code: ActivationCode) -> NDArray[np.float64]:
    """Rows [n, p, groups, d] as the array sees them, not rounded: [n p, groups, d]."""
    steps = rows.reshape(-1, *rows.shape[2:]).astype(np.float64) / code.step + code.zero_point
    return np.asarray(np.clip(steps, 0, 2**code.bits - 1))


def _of_group(sums: RowSums, rank: int) -> InputMoments:
    covariance = sums.covariance()
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    mean, deviation = behind(np.maximum(sums.mean(), 0.0), spread)
    correlation = correlation_behind(covariance, mean, deviation)
    loadings = loadings_of(correlation, min(rank, sums.size))
    with np.errstate(under="ignore"):  # next to a step of the code, such a number is zero
        return InputMoments(
            means=np.clip(mean, -_LARGEST, _LARGEST).astype(np.float16),
            deviations=np.minimum(deviation, _LARGEST).astype(np.float16),
            loadings=np.rint(loadings * LOADING_STEPS).astype(np.int8),
        )


def _joined(groups: Sequence[InputMoments]) -> InputMoments:
    return InputMoments(
        means=np.stack([one.means for one in groups]),
        deviations=np.stack([one.deviations for one in groups]),
        loadings=np.stack([one.loadings for one in groups]),
    )
