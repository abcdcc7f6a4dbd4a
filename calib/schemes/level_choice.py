"""Which input channel gets which level: the least loss within a budget of mean bits.

Each channel takes one of a few levels, each with a size in bits and a predicted loss: a
multiple-choice knapsack. On the lower convex hull of a channel's (size, loss) points each step up
costs more bits for each part of the loss than the one before, so that taking all channels' steps in
the order of their worth is the solution of the Lagrangian for every price of a bit (H. Everett,
Operations Research 11, 1963); what is left of the budget then buys whatever single change still
fits and gains most. The loss is above the optimum by less than one step of one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Channels to be given levels: [channels] and [channels, levels]."""

    weights: NDArray[np.int64]
    """[channels]: how many weights read each channel."""

    losses: Float64
    """[channels, levels]: what each level is predicted to cost."""


def choose_levels(choice: Choice, levels: Sequence[int], bits_mean: float) -> NDArray[np.intp]:
    """Each channel's place in `levels`, [channels].

    Args:
        choice: the channels of all layers.
        levels: bits, ascending.
        bits_mean: of all weights, at most.

    Raises:
        CalibError: the budget is less than all channels take with the fewest bits.
    """
    if bits_mean < levels[0]:
        raise CalibError(
            f"{bits_mean:g} mean bits cannot be met with levels {','.join(map(str, levels))}: the "
            f"smallest possible is {levels[0]}; raise --bits or give a smaller level"
        )
    sizes = choice.weights[:, None] * np.asarray(levels, np.int64)
    budget = int(np.floor(bits_mean * int(choice.weights.sum()) + 1e-6))
    taken, left = _up_the_hulls(sizes, choice.losses, budget - int(sizes[:, 0].sum()))
    return _filled(sizes, choice.losses, taken, left)


def _up_the_hulls(
    sizes: NDArray[np.int64], losses: Float64, left: int
) -> tuple[NDArray[np.intp], int]:
    """Take steps in the order of their worth until one does not fit."""
    steps = []
    for channel in range(len(sizes)):
        for low, high in _hull(sizes[channel], losses[channel]):
            size = int(sizes[channel, high] - sizes[channel, low])
            worth = (losses[channel, low] - losses[channel, high]) / size
            steps.append((-worth, channel, high, size))
    taken = np.zeros(len(sizes), np.intp)
    stuck = set()
    for _, channel, high, size in sorted(steps):
        if channel in stuck:
            continue
        if size > left:
            stuck.add(channel)
            continue
        taken[channel] = high
        left -= size
    return taken, left


def _hull(sizes: NDArray[np.int64], losses: Float64) -> list[tuple[int, int]]:
    """Steps up along the lower convex hull, from the smallest level; none where nothing is won."""
    steps: list[tuple[int, int]] = []
    at = 0
    while True:
        above = np.arange(at + 1, len(sizes))
        gains = losses[at] - losses[above]
        if not len(above) or gains.max() <= 0:
            return steps
        worth = gains / (sizes[above] - sizes[at])
        best = int(above[np.flatnonzero(worth >= worth.max())[-1]])
        steps.append((at, best))
        at = best


def _filled(
    sizes: NDArray[np.int64], losses: Float64, taken: NDArray[np.intp], left: int
) -> NDArray[np.intp]:
    """Spend what is left on single changes, the largest gain first."""
    taken, every = taken.copy(), np.arange(len(sizes))
    while True:
        gains = losses[every, taken][:, None] - losses
        extra = sizes - sizes[every, taken][:, None]
        gains = np.where(extra <= left, gains, 0.0)
        channel, level = np.unravel_index(int(gains.argmax()), gains.shape)
        if gains[channel, level] <= 0:
            return taken
        left -= int(extra[channel, level])
        taken[channel] = level
