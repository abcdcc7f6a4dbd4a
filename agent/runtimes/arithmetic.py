"""In which numbers a runtime computes a layer whose weights are stored in a bundle."""

from __future__ import annotations

from agent.runtimes.names import CIM
from calib.integer_weights import INTEGER_BITS, is_integer
from calib.schemes.weights import QuantisedWeights


def computed_as(runtime: str, weights: QuantisedWeights | None) -> str | None:
    """`int8` or `float32`; None on a chip, which computes with what is stored.

    None, too, for float weights that are not quantised yet.

    Args:
        runtime: one of `RUNTIMES`.
        weights: of one layer, as stored.
    """
    if runtime == CIM or weights is None:
        return None
    return f"int{INTEGER_BITS}" if is_integer(weights) else "float32"
