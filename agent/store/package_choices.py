"""What was chosen when a model was packed: budget, precisions, ranges."""

from __future__ import annotations

from typing import Any

from agent.errors import BundleError
from agent.store.fields import Fields
from calib.budget import Budget
from calib.packed import PackedNetwork, RangeChoice
from calib.precision import MIXED, PRECISIONS


def read_precisions(document: Fields) -> tuple[int, ...]:
    """Bits that rows of A may have; bundles of before there was a choice leave it to us."""
    found = document.content.get("factor_precisions", list(MIXED))
    whole = isinstance(found, list) and all(type(bits) is int for bits in found)
    if not whole or not found or not set(found) <= set(PRECISIONS):
        raise BundleError(
            f"{document.where}: factor_precisions is {found!r}, and it should be a list of some of "
            f"{', '.join(map(str, PRECISIONS))}; the bundle is damaged: pack the model again"
        )
    return tuple(found)


def budget_document(network: PackedNetwork) -> dict[str, Any]:
    """The limits besides the rank."""
    limits = {"bytes": network.budget_bytes, "mac_share": network.budget_mac_share}
    slowdown = network.budget_slowdown
    return limits if slowdown is None else {**limits, "slowdown": slowdown}


def read_budget(document: Fields) -> Budget:
    """The limits besides the rank; bundles of before there were such have none."""
    entry = document.optional("budget")
    if entry is None:
        return Budget()
    size = None if entry.content.get("bytes") is None else entry.whole("bytes")
    share = None if entry.content.get("mac_share") is None else entry.number("mac_share")
    slowdown = None if entry.content.get("slowdown") is None else entry.number("slowdown")
    return Budget(bytes=size, mac_share=share, slowdown=slowdown)


def read_ranges(entry: Fields) -> RangeChoice:
    """How ranges of activations were found."""
    errors = entry.inner("output_errors")
    return RangeChoice(entry.text("method"), {name: errors.number(name) for name in errors.content})
