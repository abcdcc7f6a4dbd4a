"""JSON objects with a checksum: one line of text each, for state and history.

    {"crc32":"8 hexadecimal digits","content":{...}}

The checksum is that of the content's bytes as they stand, so no program has to write JSON the way
Python does in order to check it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

BEGIN = b'{"crc32":"'
_MIDDLE = b'","content":'
_CONTENT_OFFSET = len(BEGIN) + 8 + len(_MIDDLE)


def seal(content: Mapping[str, Any]) -> bytes:
    """The line, with its newline.

    Raises:
        ValueError: the content holds NaN or infinite numbers.
        TypeError: the content holds what JSON cannot.
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")).encode()
    return BEGIN + b"%08x" % zlib.crc32(text) + _MIDDLE + text + b"}\n"


def unseal(line: bytes) -> dict[str, Any] | None:
    """The content, or None where the line is torn or damaged."""
    line = line.removesuffix(b"\n")
    text = line[_CONTENT_OFFSET:-1]
    if line != BEGIN + b"%08x" % zlib.crc32(text) + _MIDDLE + text + b"}":
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
