"""CBOR maps, strictly: what a message may hold, and nothing else. Source: RFC 8949.

cbor2 knows tags that build dates, expressions and references; none of them may come over a cable.
So the bytes are walked first: known kinds only, every length inside the message, few levels, few
items. What passes is decoded by cbor2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 8
MAX_ITEMS = 4096
_INDEFINITE = 31
_BREAK = 0xFF
_FLOATS = {25: 2, 26: 4, 27: 8}
_SIMPLE = {20, 21, 22}  # false, true, null


class CborError(ValueError):
    """These bytes are no CBOR that a message may hold."""


def encode_map(body: Mapping[str, Any]) -> bytes:
    """A map as bytes, always the same for the same map.

    Raises:
        CborError: something in it has no place in a message.
    """
    import cbor2  # noqa: PLC0415  # --help must not load it

    try:
        data = cbor2.dumps(dict(body), canonical=True)
    except (TypeError, ValueError, cbor2.CBOREncodeError) as error:
        raise CborError(f"this has no form in a message: {error}") from error
    _walked(data)
    return data


def decode_map(data: bytes) -> dict[str, Any]:
    """The map that bytes hold.

    Raises:
        CborError: they hold anything else, or more.
    """
    import cbor2  # noqa: PLC0415  # --help must not load it

    _walked(data)
    try:
        body = cbor2.loads(data)
    except (ValueError, TypeError, EOFError, cbor2.CBORDecodeError) as error:
        raise CborError(f"damaged: {error}") from error
    if not isinstance(body, dict):
        raise CborError(f"a {type(body).__name__} where a map belongs")
    _check_names(body)
    return body


def _check_names(value: object) -> None:
    """Maps have text for names, at every level."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise CborError(f"a name that is a {type(name).__name__}, not text")
            _check_names(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_names(inner)


def _walked(data: bytes) -> None:
    walk = _Walk(data)
    walk.item(0)
    if walk.at != len(data):
        raise CborError(f"{len(data) - walk.at} bytes behind the map")


class _Walk:
    """Where a walk over encoded items stands."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.items = data, 0, 0

    def item(self, depth: int) -> None:
        """Step over one item."""
        self.items += 1
        if depth > MAX_DEPTH or self.items > MAX_ITEMS:
            raise CborError(f"more than {MAX_DEPTH} levels or {MAX_ITEMS} items")
        first = self._take(1)[0]
        kind, detail = first >> 5, first & 31
        if kind == 7:
            self._simple(detail)
        elif kind in {0, 1}:
            self._number(detail)
        elif kind in {2, 3}:
            self._take(self._number(detail))
        elif kind in {4, 5}:
            self._inside(detail, kind - 3, depth)
        else:
            raise CborError("a tag, which no message may hold")

    def _inside(self, detail: int, each: int, depth: int) -> None:
        """Step over the items of an array (one each) or of a map (two)."""
        if detail != _INDEFINITE:
            for _ in range(each * min(self._number(detail), MAX_ITEMS + 1)):
                self.item(depth + 1)
            return
        while self.data[self.at : self.at + 1] != bytes([_BREAK]):
            for _ in range(each):
                self.item(depth + 1)
        self.at += 1

    def _simple(self, detail: int) -> None:
        if detail in _FLOATS:
            self._take(_FLOATS[detail])
        elif detail not in _SIMPLE:
            raise CborError(f"a simple value {detail}, which no message may hold")

    def _number(self, detail: int) -> int:
        if detail < 24:
            return detail
        if detail > 27:
            raise CborError("a length that is not known beforehand")
        return int.from_bytes(self._take(1 << (detail - 24)))

    def _take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise CborError("it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]
