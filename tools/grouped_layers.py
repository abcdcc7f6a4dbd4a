"""What calibration does for layers with groups, and what it would be without.

`frozen` leaves these layers as the chip computes them, `gain and offset` gives them nothing more;
what such a layer does not take of the budget goes to the others. Beside them stands what every
calibration does: a low-rank part in each group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.gathering import planned
from agent.methods import moment_pass
from agent.runtimes.base import Adjust, Answer, Positions, Trace
from agent.runtimes.cim import CimRuntime
from calib.factor_codes import rounded
from calib.factors import Factors, identity
from calib.graph.linear import LinearLayer
from calib.grouped_fit import SolvedGroups
from calib.layer_fit import plan_solved
from calib.packed import PackedNetwork

FROZEN, GAIN_AND_OFFSET = "frozen", "gain and offset"


@dataclass(frozen=True)
class WithoutGroupedMoments:
    """A chip whose grouped layers the moment pass leaves alone."""

    chip: CimRuntime

    @property
    def layers(self) -> Sequence[LinearLayer]:
        """Those of the chip."""
        return self.chip.layers

    def run(self, samples: NDArray[np.float32], factors: Factors, taps: Positions) -> Trace:
        """Run the chip."""
        return self.chip.run(samples, factors, taps)

    def loaded(self, factors: Factors) -> Answer:
        """The chip, ready to answer."""
        return self.chip.loaded(factors)

    def run_adjusting(self, samples: NDArray[np.float32], factors: Factors, adjust: Adjust) -> None:
        """Run the chip; outputs of grouped layers stay as they are."""
        self.chip.run_adjusting(
            samples,
            factors,
            lambda layer, outputs: (
                adjust(layer, outputs)
                if layer.groups == 1
                else (np.ones(layer.outputs, np.float32), np.zeros(layer.outputs, np.float32))
            ),
        )

    def close(self) -> None:
        """Nothing is held but memory."""


def treated(
    how: str, chip: CimRuntime, network: PackedNetwork, chosen: NDArray[np.intp]
) -> Factors:
    """Factors whose grouped layers are treated as `how` says, the others as in any calibration."""
    plan = planned(chip, network, chosen, network.budget)
    bare = {
        name: replace(one, worth=np.zeros_like(one.worth)) if isinstance(one, SolvedGroups) else one
        for name, one in plan.solved.items()
    }
    factors = plan_solved(network, bare, network.budget).factors()
    runtime: CimRuntime | WithoutGroupedMoments = chip
    if how == FROZEN:
        for layer in network.layers:
            if layer.groups > 1:
                factors = factors.replaced(layer.name, identity(layer))
        runtime = WithoutGroupedMoments(chip)
    matched = moment_pass(runtime, network, chosen, factors)
    return rounded(matched, network.layers)
