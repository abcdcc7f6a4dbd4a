"""The fields of a request, each asked for with its type and its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from agent.link.refusal import Refusal

Value = TypeVar("Value")

NAME_LENGTH = 256
LARGEST = 2**32 - 1


class Fields:
    """A request's map; what is missing, of another type or never asked for is refused.

    Booleans are no numbers here.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        """Take the map as it came."""
        self._body = dict(body)

    def text(self, name: str, longest: int = NAME_LENGTH) -> str:
        """Text of at most so many characters, which has to be there."""
        return self._required(name, self.maybe_text(name, longest))

    def maybe_text(self, name: str, longest: int = NAME_LENGTH) -> str | None:
        """The same; None where it is not given."""
        value = self._taken(name, str)
        if value is not None and len(value) > longest:
            raise Refusal(f"{name} has {len(value)} characters, at most {longest} are allowed")
        return value

    def data(self, name: str) -> bytes:
        """Bytes, which have to be there."""
        return self._required(name, self._taken(name, bytes))

    def whole(self, name: str, least: int = 0, largest: int = LARGEST) -> int:
        """A whole number within limits, which has to be there."""
        return self._required(name, self.maybe_whole(name, least, largest))

    def maybe_whole(self, name: str, least: int = 0, largest: int = LARGEST) -> int | None:
        """The same; None where it is not given."""
        value = self._taken(name, int)
        if value is not None and not least <= value <= largest:
            raise Refusal(f"{name} is {value}, allowed are {least} to {largest}")
        return value

    def maybe_number(self, name: str, least: float = -math.inf) -> float | None:
        """A finite number; None where it is not given."""
        value = self._taken(name, int, float)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise Refusal(f"{name} is {value}, allowed are finite numbers from {least:g} on")
        return None if value is None else float(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is not given."""
        return bool(self._taken(name, bool))

    def wholes(self, name: str, most: int) -> list[int] | None:
        """A list of whole numbers, not too many; None where it is not given."""
        value = self._taken(name, list)
        if value is None:
            return None
        if len(value) > most or not all(type(one) is int for one in value):
            raise Refusal(f"{name} has to be a list of at most {most} whole numbers")
        return value

    def end(self) -> None:
        """Say that nothing else may be there."""
        if self._body:
            raise Refusal(f"this command takes no {', '.join(sorted(self._body))}")

    def _taken(self, name: str, *types: type[Value]) -> Value | None:
        value = self._body.pop(name, None)
        if value is not None and type(value) not in types:
            wanted = " or ".join(one.__name__ for one in types)
            raise Refusal(f"{name} is of type {type(value).__name__}, not {wanted}")
        return cast("Value | None", value)

    @staticmethod
    def _required(name: str, value: Value | None) -> Value:
        if value is None:
            raise Refusal(f"this command needs {name}")
        return value
