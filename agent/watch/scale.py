"""What a loss is measured by: how much the network's answers say at all."""

from __future__ import annotations

import numpy as np

from calib.packed import PackedNetwork
from calib.references import held_back_indices, in_blocks


def answer_scale(network: PackedNetwork) -> float:
    """The loss of answers that say nothing, on the held-back samples; above 0.

    With classes it is their mean distance from equal probabilities, in nats: a network of narrow
    margins has little to lose, and loses its classes with little. A loss over this is the share of
    the answers' information that is lost. Without classes, and where moments stand for samples, a
    loss is such a share already: 1.
    """
    if not network.has_samples:
        return 1.0
    blocks = in_blocks(network.references, held_back_indices(network.references), with_rows=False)
    losses = [
        network.decision.losses(block.answers, np.zeros_like(block.answers)) for block in blocks
    ]
    return float(np.concatenate(losses).mean()) or 1.0
