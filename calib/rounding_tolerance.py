"""How far apart the layers of two right runtimes may be: what a bundle states and drift allows for.

Kernels of whole numbers make the same sums, bit for bit. What differs between versions of a
runtime, its graph optimisations and processors is how a sum, scaled in float32, is rounded to the
output's code: where it lies near the middle between two codes, one takes the lower, the other the
upper. Such an output is off by one step Δ. With a share s of them the outputs of a layer, of mean
square ρ², differ by the relative error

    √(s Δ²) / ρ = √s · Δ / ρ.

Differences upstream reach further layers as a little more of the same, so s is taken above that of
the layers that show most: `SHARE`. ONNX Runtime's fused kernels against its plain ones show 0.0 to
0.6 % in the convolutions of ResNet-8, 1.3 % in its last layer, and next to nothing in the keyword
network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from calib.packed import PackedNetwork
from calib.references import held_back_indices, in_blocks
from calib.schemes.activations import ActivationCode

SHARE = 0.02
"""Of outputs that are off by a step: more than was seen anywhere."""


def rounding_tolerance(network: PackedNetwork, outputs: Mapping[str, ActivationCode]) -> float:
    """The mean over the layers of the relative error that rounding alone may make between runtimes.

    Args:
        network: with its references, of which the held-back ones say how large outputs are.
        outputs: by layer, the codes of its output.
    """
    squares = {layer.name: 0.0 for layer in network.layers}
    counts = dict.fromkeys(squares, 0)
    indices = held_back_indices(network.references)
    for block in in_blocks(network.references, indices, with_rows=False):
        for name in squares:
            wanted = block.layers[name].outputs.astype(np.float64)
            squares[name] += float((wanted**2).sum())
            counts[name] += wanted.size
    apart = [
        np.sqrt(SHARE * counts[name] / squares[name]) * outputs[name].step
        for name in squares
        if squares[name]
    ]
    return float(np.mean(apart)) if apart else 0.0
