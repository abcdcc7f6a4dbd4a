"""Arrays of kinds that other packages bring: what they raise and return is checked at the door."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Array, DeviceModel, Placement, check_inputs
from device_models.errors import DeviceModelError
from device_models.registry import Kind

OURS = __name__.partition(".")[0]


def is_foreign(kind: Kind) -> bool:
    """Whether another package than this one brings a kind."""
    return kind.model.__module__.partition(".")[0] != OURS


def guarded(kind: Kind, model: DeviceModel, placement: Placement) -> GuardedArray:
    """Let a foreign kind program a layer.

    Raises:
        DeviceModelError: it fails, or makes no array; the sentence names kind and package.
    """
    package = kind.model.__module__.partition(".")[0]
    place = f"layer {placement.layer}, device kind {kind.name} of the plugin {package}"
    with _translated(place, "programming"):
        array = kind.program(model, placement)
    if not callable(getattr(array, "multiply", None)):
        raise DeviceModelError(
            f"{place}: programming gives a {type(array).__name__}, which cannot multiply; "
            "an array has a method multiply(codes, zero_point, generator)"
        )
    groups, rows, outputs = placement.weights.codes.shape
    return GuardedArray(array, place, (groups, rows), outputs, placement.input_bits)


@dataclass(frozen=True)
class GuardedArray:
    """A foreign array whose errors are translated and whose results are checked."""

    array: Array
    place: str
    shape: tuple[int, int]
    """[groups, d]"""

    outputs: int
    input_bits: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `Array.multiply`."""
        check_inputs(codes, self.shape, self.input_bits)
        with _translated(self.place, "multiplying"):
            found = self.array.multiply(codes, zero_point, generator)
        self._check(found, (len(codes), self.shape[0], self.outputs))
        return found

    def _check(self, found: object, shape: tuple[int, ...]) -> None:
        if not isinstance(found, np.ndarray) or found.dtype != np.float32 or found.shape != shape:
            what = (
                f"{found.dtype} {list(found.shape)}"
                if isinstance(found, np.ndarray)
                else f"a {type(found).__name__}"
            )
            raise DeviceModelError(
                f"{self.place}: multiplying gives {what}; needed is float32 {list(shape)}"
            )
        if not np.isfinite(found).all():
            raise DeviceModelError(
                f"{self.place}: multiplying gives NaN or infinity; the board or its driver is at "
                "fault"
            )

    def close(self) -> None:
        """Close what the array holds, if it can be closed."""
        close = getattr(self.array, "close", None)
        if callable(close):
            with _translated(self.place, "closing"):
                close()


@contextmanager
def _translated(place: str, action: str) -> Iterator[None]:
    """Foreign errors as one sentence; our own pass."""
    try:
        yield
    except DeviceModelError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DeviceModelError(f"{place}: {action} failed: {reason}") from error
