"""What goes wrong on a day of a scenario: columns that die, inputs that move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.data_file import Data
from agent.errors import InputError
from agent.life.scenario import DeadColumn, MovedInputs, Scenario
from calib.packed import PackedNetwork
from calib.schemes.mixed import MixedLayer
from calib.schemes.weights import QuantisedWeights


def check_columns(network: PackedNetwork, dead: Iterable[DeadColumn]) -> None:
    """Refuse columns that the network does not have.

    Raises:
        InputError: so it is.
    """
    outputs = {layer.name: layer.outputs for layer in network.layers}
    for one in dead:
        if one.layer not in outputs:
            raise InputError(
                f"dead_column: the network has no layer {one.layer[:40]!r}; it has "
                f"{', '.join(outputs)}"
            )
        if one.column >= outputs[one.layer]:
            raise InputError(
                f"dead_column: layer {one.layer} has columns 0 to {outputs[one.layer] - 1}, and "
                f"{one.column} is none"
            )


def with_dead_columns(network: PackedNetwork, dead: Iterable[DeadColumn]) -> PackedNetwork:
    """What a chip holds whose columns give nothing; what the loop knows of them stays the same.

    Where channels have levels, a column is dead in the arrays of all of them.
    """
    weights, mixed = dict(network.weights), dict(network.mixed)
    for one in dead:
        if one.layer in mixed:
            mixed[one.layer] = _silenced_levels(mixed[one.layer], one.column)
        else:
            weights[one.layer] = _silenced(weights[one.layer], one.column)
    return replace(network, weights=weights, mixed=mixed)


def _silenced(weights: QuantisedWeights, column: int) -> QuantisedWeights:
    """The same weights with the code for zero in a column, counted over all groups."""
    zero = 0 if weights.codebook is None else int(np.abs(weights.codebook).argmin())
    return replace(weights, codes=_without(weights.codes, column, zero))


def _silenced_levels(mixed: MixedLayer, column: int) -> MixedLayer:
    """The same for each level; what is added to codes in digital, no column has a part in."""
    levels = [replace(one, codes=_without(one.codes, column, 0)) for one in mixed.levels]
    return replace(mixed, levels=tuple(levels))


def _without(codes: NDArray[np.int8], column: int, zero: int) -> NDArray[np.int8]:
    kept = codes.copy()
    group, inside = divmod(column, codes.shape[2])
    kept[group, :, inside] = zero
    return kept


def dead_at(scenario: Scenario, day: float) -> tuple[DeadColumn, ...]:
    """The columns that are dead on a day."""
    return tuple(one for one in scenario.dead_column if one.day <= day)


def moved_at(scenario: Scenario, day: float) -> MovedInputs | None:
    """How inputs have moved on a day; the latest to begin counts."""
    there = [one for one in scenario.inputs if one.day <= day < one.until_day]
    return max(there, key=lambda one: one.day) if there else None


def moved_data(data: Data, moved: MovedInputs | None) -> Data:
    """Samples as they are after a move, within the range that they had: a sensor saturates."""
    if moved is None:
        return data
    low, high = float(data.x.min()), float(data.x.max())
    x = np.clip(moved.gain * data.x + moved.offset * max(abs(low), abs(high)), low, high)
    return Data(x.astype(np.float32), data.y)
