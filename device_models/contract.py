"""What passes between a chip and the kinds of device models.

A kind is a frozen dataclass of parameters, and a function that turns it and a `Placement` into an
`Array`. This file knows no kind; `device_models.registry` keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from device_models.array_weights import ArrayWeights
from device_models.errors import DeviceModelError

ABSOLUTE_ZERO_C = -273.15

REFERENCE_TEMPERATURE_C = 25.0
"""The temperature at which models give their nominal figures."""


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

    supply_v: float | None = None
    """Supply of the arrays; None: the nominal one of their model."""

    def __post_init__(self) -> None:
        """Refuse an age, a temperature or a supply that cannot be."""
        if not (math.isfinite(self.age_s) and self.age_s >= 0):
            raise DeviceModelError(f"an age of {self.age_s} s: give a finite number of at least 0")
        if not (math.isfinite(self.temperature_c) and self.temperature_c > ABSOLUTE_ZERO_C):
            raise DeviceModelError(
                f"a temperature of {self.temperature_c} C: "
                f"give a finite one above {ABSOLUTE_ZERO_C}"
            )
        if self.supply_v is not None and not (math.isfinite(self.supply_v) and self.supply_v > 0):
            raise DeviceModelError(f"a supply of {self.supply_v} V: give a finite voltage above 0")

    def supply_of(self, nominal_v: float) -> float:
        """The supply of arrays whose nominal one is this."""
        return nominal_v if self.supply_v is None else self.supply_v


TypicalInputs = Callable[[], NDArray[np.uint8]]
"""Gives activations [n, groups, d] as the layer usually gets them; called only where needed."""


@dataclass(frozen=True)
class Placement:
    """What a kind of device model needs to know to become the array of one layer."""

    seed: int
    state: State
    layer: str
    weights: ArrayWeights
    input_bits: int

    typical: TypicalInputs | None = None
    """What converters with a calibrated range, and fast forms, are adjusted to."""

    fast: bool = False
    """Take a statistically equal form where there is one, instead of every conversion."""

    zero_point: int = 0
    """The code that stands for zero in typical inputs."""


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


class LevelArray(Array, Protocol):
    """An array that multiplies signed whole numbers as they are, without planes of them."""

    def multiply_levels(
        self,
        levels: NDArray[np.float32],
        factor: float,
        generator: np.random.Generator,
        out: NDArray[np.float32],
    ) -> None:
        """The same as `multiply`, times a factor, into memory of the caller's.

        Args:
            levels: [n, groups, d], code - zero_point of each activation.
            factor: What one step of a code is worth.
            generator: As for `multiply`.
            out: [n, groups, m], for the result.
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
