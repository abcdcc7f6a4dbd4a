"""What a bundle's references are, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def references_text(references: Mapping[str, Any]) -> str:
    """References as `inspect` describes them."""
    numbers = f"{references['count']} and {references['held_back']} held back"
    each = references["positions"]
    if references["form"] == "moments":
        kept = f"moments of rank {references['moment_rank']} of {references['samples']} samples"
        return f"{numbers} drawn from {kept}, {each} rows a layer"
    return f"{numbers}, {references['form']}, {each} positions a layer"
