"""JSON that every parser reads, of whatever results are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path


def strict_json(document: object) -> str:
    """One line of JSON that every parser reads: what is not finite is null.

    NumPy's numbers and arrays, tuples and paths become numbers, lists and strings.
    """
    return json.dumps(_plain(document), allow_nan=False)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner) for inner in value]
        case Path():
            return str(value)
    if callable(plain := getattr(value, "tolist", None)):  # a NumPy scalar or array
        return _plain(plain())
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
