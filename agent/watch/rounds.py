"""A round of canaries: the held-back samples, run through the chip once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from calib.verify import Judgement

SATURATED_ERROR = 0.95
"""A relative error near 1 says that a layer's outputs have nothing to do with the reference's."""


@dataclass(frozen=True)
class CanaryRound:
    """How the chip did on canaries."""

    errors: Mapping[str, float]
    """By layer: the relative error."""

    loss: float
    """Mean loss of the answers, as a share of what they say, see `agent.watch.scale`."""

    saturated: tuple[str, ...] = ()
    """Layers whose outputs do not follow their inputs any more."""

    @property
    def is_finite(self) -> bool:
        """Whether all figures are numbers."""
        return all(math.isfinite(value) for value in (*self.errors.values(), self.loss))

    @property
    def mean_error(self) -> float:
        """Mean relative error over the layers."""
        return sum(self.errors.values()) / len(self.errors)


def canary_round(judgement: Judgement, scale: float) -> CanaryRound:
    """What a judgement of the held-back samples says as a round of canaries.

    Args:
        judgement: as `agent.measurement` makes it.
        scale: what `agent.watch.scale` says of the network, once.
    """
    errors = {name: error.relative_error for name, error in judgement.errors.items()}
    saturated = tuple(
        name
        for name, error in judgement.errors.items()
        if error.relative_error >= SATURATED_ERROR and abs(error.gain) < 1 - SATURATED_ERROR
    )
    return CanaryRound(errors, judgement.loss / scale, saturated)
