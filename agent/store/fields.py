"""Checked access to what a bundle says: every type, number and shape before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.errors import BundleError
from agent.store.bundle import Bundle
from agent.store.npy import Array

_AGAIN = "it was packed by another version or is damaged: pack the model again"
MOST = 2**31 - 1


@dataclass(frozen=True)
class Fields:
    """A JSON object out of a bundle."""

    content: Mapping[str, Any]
    where: str
    """What messages call it."""

    def text(self, name: str) -> str:
        """A string."""
        value = self.content.get(name)
        if not isinstance(value, str):
            raise self._refused(name, "text")
        return value

    def whole(self, name: str, low: int = 0, high: int = MOST) -> int:
        """An integer from `low` to `high`."""
        value = self.content.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refused(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.content.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refused(name, "a number")
        if not abs(value) < math.inf:
            raise self._refused(name, "a finite number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.content.get(name)
        if not isinstance(value, bool):
            raise self._refused(name, "true or false")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = self.content.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._refused(name, "a list of names")
        return value

    def wholes(self, name: str, low: int = 0, high: int = MOST) -> tuple[int, ...]:
        """A list of integers from `low` to `high`."""
        value = self.content.get(name)
        wanted = f"a list of whole numbers from {low} to {high}"
        if not isinstance(value, list):
            raise self._refused(name, wanted)
        for item in value:
            if isinstance(item, bool) or not isinstance(item, int) or not low <= item <= high:
                raise self._refused(name, wanted)
        return tuple(value)

    def inner(self, name: str) -> Fields:
        """An object."""
        value = self.content.get(name)
        if not isinstance(value, dict):
            raise self._refused(name, "an object")
        return Fields(value, f"{name} of {self.where}")

    def optional(self, name: str) -> Fields | None:
        """An object, or null."""
        return None if self.content.get(name) is None else self.inner(name)

    def items(self, name: str) -> list[Fields]:
        """A list of objects."""
        value = self.content.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._refused(name, "a list of objects")
        return [Fields(item, f"{name}[{i}] of {self.where}") for i, item in enumerate(value)]

    def _refused(self, name: str, wanted: str) -> BundleError:
        found = repr(self.content.get(name))[:60]
        return BundleError(f"{self.where}: {name!r} is {found} and not {wanted}; {_AGAIN}")


def array_of(
    bundle: Bundle, name: str, types: tuple[str, ...], shape: tuple[int | None, ...]
) -> Array:
    """An array of a bundle, of one of these NumPy types, finite and of this shape.

    Args:
        bundle: where it is.
        name: its name, without `.npy`.
        types: such as `("<f4",)`.
        shape: what is wanted; None where any size will do.

    Raises:
        BundleError: it is missing, damaged, or another.
    """
    found = bundle.array(name)
    fits = len(found.shape) == len(shape) and all(
        want in {None, have} for have, want in zip(found.shape, shape, strict=True)
    )
    if found.dtype.str not in types or not fits:
        wanted = ", ".join("n" if size is None else str(size) for size in shape)
        raise BundleError(
            f"{bundle.name}: array {name} is {found.dtype.str} {list(found.shape)}, needed is "
            f"{' or '.join(types)} [{wanted}]; {_AGAIN}"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise BundleError(f"{bundle.name}: array {name} holds values that are not finite; {_AGAIN}")
    return found


def decoded_fields(content: bytes, name: str, file_format: int) -> Fields:
    """The fields of a JSON file in a bundle that says its format.

    Raises:
        BundleError: it is damaged, or of another format.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise BundleError(f"{name} is no JSON ({error}); pack the model again") from error
    if not isinstance(document, dict) or document.get("format") != file_format:
        raise BundleError(
            f"{name} is not of format {file_format}; it was packed by another version: pack the "
            "model again"
        )
    return Fields(document, name)
