"""What a model file or a runtime prescribes of the codes of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from calib.errors import CalibError
from calib.schemes.activations import ActivationCode
from calib.schemes.weights import QuantisedWeights

GIVEN = "given"
"""How ranges were found that came with the file."""

GIVEN_SCHEME = "int8"
GIVEN_BITS = 8
"""What weights and activations of such a file are."""


@dataclass(frozen=True)
class GivenCodes:
    """By layer name, as the file has them."""

    weights: Mapping[str, QuantisedWeights]
    activations: Mapping[str, ActivationCode]
    """Of the layers' inputs."""


@dataclass(frozen=True)
class Prescribed:
    """What is not for `pack` to choose."""

    codes: GivenCodes | None = None
    """Of a file that is quantised already."""

    spans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By layer: tensors whose values the code of the layer's input has to span. Kernels that move
    values, or average them, have one code for what they read and make."""

    def check(self, scheme: str, activation_bits: int) -> None:
        """Raise CalibError where what the user chose contradicts the file's codes."""
        if self.codes is None or (scheme, activation_bits) == (GIVEN_SCHEME, GIVEN_BITS):
            return
        raise CalibError(
            f"the model is quantised already, as {GIVEN_SCHEME} with activations of {GIVEN_BITS} "
            f"bits, and cannot become {scheme} with {activation_bits}: leave --scheme and "
            "--activation-bits out, or give the float model"
        )
