"""What passes between a chip and the kinds of device models.

A kind is a frozen dataclass of parameters, and a function that turns it and a `Placement` into an
`Array`. This file knows no kind; `device_models.registry` keeps them.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights
from device_models.errors import DeviceModelError

ABSOLUTE_ZERO_C = -273.15


class DeviceModel(Protocol):
    """A frozen dataclass whose fields are made by `device_models.parameters.parameter`."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


@dataclass(frozen=True)
class State:
    """The conditions a chip is in."""

    age_s: float = 0.0
    """Seconds since the weights were written."""

    temperature_c: float = 25.0

    def __post_init__(self) -> None:
        """Refuse an age or a temperature that cannot be."""
        if not (math.isfinite(self.age_s) and self.age_s >= 0):
            raise DeviceModelError(f"an age of {self.age_s} s: give a finite number of at least 0")
        if not (math.isfinite(self.temperature_c) and self.temperature_c > ABSOLUTE_ZERO_C):
            raise DeviceModelError(
                f"a temperature of {self.temperature_c} C: "
                f"give a finite one above {ABSOLUTE_ZERO_C}"
            )


@dataclass(frozen=True)
class Placement:
    """What a kind of device model needs to know to become the array of one layer."""

    seed: int
    state: State
    layer: str
    weights: ArrayWeights
    input_bits: int


class Array(Protocol):
    """A layer in the array."""

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Multiply rows of activations with the weights, as this chip computes it.

        Args:
            codes: [n, groups, d] unsigned activations of `input_bits` bits.
            zero_point: The code that stands for zero.
            generator: Where read noise is drawn from; a noiseless chip draws nothing.

        Returns:
            [n, groups, m]: the sum over d of (code - zero_point) · weight.

        Raises:
            DeviceModelError: codes of another type, shape or range than the array was made for.
        """
        ...


def check_inputs(codes: NDArray[np.uint8], shape: tuple[int, int], input_bits: int) -> None:
    """Refuse activations that an array of [groups, d] = shape cannot take.

    Raises:
        DeviceModelError: another type, shape or range.
    """
    if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[1:] != shape:
        raise DeviceModelError(
            f"activations are {codes.dtype} {list(codes.shape)}; "
            f"the array takes uint8 [n, {shape[0]}, {shape[1]}]"
        )
    if input_bits < 8 and codes.size and int(codes.max()) >> input_bits:
        raise DeviceModelError(
            f"an activation code of {int(codes.max())} does not fit {input_bits} bits; "
            "quantise the activations to the width the array was made for"
        )
