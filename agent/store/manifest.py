"""The manifest of a bundle: what is in it, checked against the limits before anything is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORMAT = 1
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_PARTS = 4096
ITEM_BYTES = {
    "|b1": 1,
    "|i1": 1,
    "|u1": 1,
    "<i2": 2,
    "<u2": 2,
    "<f2": 2,
    "<i4": 4,
    "<u4": 4,
    "<f4": 4,
    "<i8": 8,
    "<u8": 8,
    "<f8": 8,
}
"""The types an array may have, as NumPy writes them, and the bytes of one value."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 200
_MAX_AXES = 8


@dataclass(frozen=True)
class Part:
    """One file in a bundle: an array where dtype and shape are given, else bytes for a runtime."""

    sha256: str
    bytes: int
    dtype: str | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Manifest:
    """What a bundle says about itself."""

    document: Mapping[str, Any]
    parts: Mapping[str, Part]


def check_name(name: str) -> None:
    """Allow only names that are safe as a path and plain in a sentence.

    Raises:
        ValueError: the name has other signs than letters, digits and `_ . - /`, or is too long.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name) or name == MANIFEST_NAME:
        raise ValueError(
            f"part name {name[:_MAX_NAME]!r} is not allowed: at most {_MAX_NAME} letters, digits "
            "and _ . - with single slashes between, each piece beginning with a letter or digit"
        )


def encode(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`: UTF-8, sorted keys, no spaces.

    Raises:
        ValueError: the document holds NaN or infinite numbers.
        TypeError: the document holds what JSON cannot.
    """
    parts = {name: _part_document(part) for name, part in manifest.parts.items()}
    content = {"format": FORMAT, "parts": parts, "document": manifest.document}
    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _part_document(part: Part) -> dict[str, Any]:
    basic: dict[str, Any] = {"sha256": part.sha256, "bytes": part.bytes}
    if part.shape is None:
        return basic
    return {**basic, "dtype": part.dtype, "shape": list(part.shape)}


def decode(data: bytes) -> Manifest:
    """Read and check `manifest.json`.

    Raises:
        ValueError: it is no JSON, of another format, or says something impossible.
    """
    try:
        content = json.loads(data.decode())
    except RecursionError:
        raise ValueError("its manifest is nested too deeply") from None
    except ValueError:
        raise ValueError("its manifest is no JSON text") from None
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError("its manifest has no format number")
    if content["format"] != FORMAT:
        raise ValueError(f"it has format {content['format']!r}, this npp-agent reads {FORMAT}")
    document, parts = content.get("document"), content.get("parts")
    if not (isinstance(document, dict) and isinstance(parts, dict)):
        raise ValueError("its manifest lacks the document or the parts")  # noqa: TRY004 - of the file, not of us
    if len(parts) > MAX_PARTS:
        raise ValueError(f"it lists {len(parts)} parts, at most {MAX_PARTS} are allowed")
    return Manifest(document, {name: _decode_part(name, value) for name, value in parts.items()})


def _decode_part(name: str, value: Any) -> Part:
    check_name(name)
    content = value if isinstance(value, dict) else {}
    sha256, size = content.get("sha256"), _count(content.get("bytes"))
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"its manifest gives no SHA-256 for part {name}")
    if size is None:
        raise ValueError(f"its manifest gives no size for part {name}")
    if "dtype" not in content and "shape" not in content:
        return Part(sha256, size)
    dtype, shape = content.get("dtype"), _shape(content.get("shape"))
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        allowed = ", ".join(sorted(ITEM_BYTES))
        raise ValueError(f"array {name} has type {dtype!r:.40}, allowed are {allowed}")
    if shape is None:
        raise ValueError(f"array {name} has the impossible shape {content.get('shape')!r:.80}")
    if math.prod(shape) * ITEM_BYTES[dtype] > size:
        raise ValueError(
            f"array {name} has shape {list(shape)} of {dtype}, which does not fit its {size} bytes"
        )
    return Part(sha256, size, dtype, shape)


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > _MAX_AXES:
        return None
    counts = [count for item in value if (count := _count(item)) is not None]
    return tuple(counts) if len(counts) == len(value) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None
