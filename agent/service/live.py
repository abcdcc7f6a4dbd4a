"""Live inputs, looked at beside the answers: a few of them, in a small share of the time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from agent.errors import InputError
from agent.inputs import as_samples
from agent.watch.inputs import InputProfile, LiveInputs, begin_live, look_at_inputs, profile_of
from calib.packed import PackedNetwork
from calib.references import BLOCK_SAMPLES, RecomputedReferences
from calib.remembered_references import RememberedReferences
from calib.stored_references import StoredReferences

SHARE = 0.01
"""Of the time, at most."""

MOST_AT_ONCE = 4
"""Samples of one input."""


class LiveLook:
    """What live inputs are like, against the reference samples.

    Args:
        network: whose references.
        clock: seconds that only grow.
    """

    def __init__(
        self, network: PackedNetwork, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Nothing has come in."""
        profile = profile_in(network)
        self.inputs: LiveInputs | None = None if profile is None else begin_live(profile)
        self._shape = network.graph.input.shape[1:]
        self._clock, self._due_s = clock, -float("inf")

    def see(self, x: ArrayLike) -> None:
        """Look at a live input, one sample or several, if it is time for one."""
        started_s = self._clock()
        if self.inputs is None or started_s < self._due_s:
            return
        with contextlib.suppress(InputError):  # answered by a network that has been replaced
            samples, _ = as_samples(x, self._shape)
            self.inputs = look_at_inputs(self.inputs, samples[:MOST_AT_ONCE])
        now_s = self._clock()
        self._due_s = now_s + (now_s - started_s) * (1 - SHARE) / SHARE


def profile_in(network: PackedNetwork) -> InputProfile | None:
    """What a bundle's samples are like; None where it has none."""
    references = network.references
    if not isinstance(references, RecomputedReferences | RememberedReferences | StoredReferences):
        return None
    codes, indices = references.samples, np.arange(references.count)
    starts = range(0, len(indices), BLOCK_SAMPLES)
    return profile_of(codes.decoded(indices[start : start + BLOCK_SAMPLES]) for start in starts)
