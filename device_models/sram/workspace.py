"""Memory that is used again for block after block.

Fresh memory of some hundred kilobytes costs an emulator more than the arithmetic in it: the system
hands out, clears and takes back each page. A workspace lives as long as one multiplication.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Workspace:
    """Arrays by name; what was in one is lost when the same name is asked for again."""

    def __init__(self) -> None:
        """Start empty."""
        self._held: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """An array of this shape with anything in it; a name always has the same type."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, dtype)
        assert held.dtype == dtype, f"{name} is {held.dtype}"
        return held[:size].reshape(shape)
