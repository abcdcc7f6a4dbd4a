"""References with live samples among them, whose clean outputs the board computes itself.

The float network that the bundle keeps answers for live inputs as it does for references, so that a
fit can follow, and a verdict can judge, the inputs that really come.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calib.errors import CalibError
from calib.packed import PackedNetwork
from calib.references import RecomputedReferences, draw_positions, encode_samples

Float32 = NDArray[np.float32]
HELD_BACK_SHARE = 4
"""Every fourth live sample only judges."""


def with_live(network: PackedNetwork, live: Float32) -> PackedNetwork:
    """The network with live samples among its references.

    Sample numbers are new ones: first the held-back samples of the bundle, then those of the live
    ones, then the other references and the other live samples. A buffer that names samples of the
    bundle by their numbers does not go with it.

    Args:
        network: as `agent.store.package` reads it, with references that do not remember.
        live: inputs [n, ...] of the network's own shape; finite.

    Raises:
        CalibError: the bundle keeps no float network, or the samples are of another shape.
    """
    known = network.references
    if not isinstance(known, RecomputedReferences):
        raise CalibError(
            "live samples need references that the board computes itself, and the bundle's are "
            f"{network.references_as}; pack the model with --references-as recomputed"
        )
    shape = network.graph.input.shape[1:]
    if live.shape[1:] != tuple(shape) or not np.isfinite(live).all():
        raise CalibError(
            f"live samples have shape {list(live.shape[1:])}, the network takes {list(shape)}; "
            "give finite samples of that shape"
        )
    old = np.arange(known.count)
    there = known.samples.decoded(old)
    judging = np.arange(len(live)) % HELD_BACK_SHARE == HELD_BACK_SHARE - 1
    held = old < known.held_back
    everything = np.concatenate([there[held], live[judging], there[~held], live[~judging]])
    drawn = _positions(network, known, len(live))
    order = _order(held, judging, known.count)
    references = replace(
        known,
        samples=encode_samples(everything),
        held_back=known.held_back + int(judging.sum()),
        positions={name: at[order] for name, at in drawn.items()},
    )
    return replace(network, references=references)


def _positions(
    network: PackedNetwork, known: RecomputedReferences, count: int
) -> dict[str, NDArray[np.integer]]:
    """Of the bundle's samples as they are, of live ones drawn: [samples, p]."""
    generator = np.random.default_rng([network.seed, known.count])
    per_sample = network.positions_per_sample
    drawn = draw_positions(known.layers, count, per_sample, generator)
    return {name: np.concatenate([at, drawn[name]]) for name, at in known.positions.items()}


def _order(held: NDArray[np.bool_], judging: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Where each sample of the new order stands among the bundle's and the live ones."""
    old, new = np.arange(count), count + np.arange(len(judging))
    return np.concatenate([old[held], new[judging], old[~held], new[~judging]])
