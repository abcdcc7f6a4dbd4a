"""`state.json`: what is installed in a store; replacing it is what installs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import NoBundleError, StoreError, StoreVersionError
from agent.store.sealed import BEGIN, seal, unseal

STORE_FORMAT = 1
STATE_NAME = "state.json"
MAX_BYTES = 2**20
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class State:
    """What is installed."""

    bundle_id: str
    """64 hexadecimal digits."""
    chip: Mapping[str, Any]
    """The description of the chip, as the installer gave it."""
    retired_up_to: int
    """Factors with at most this sequence number belong to earlier installations."""
    remembered: Mapping[str, Any]
    """What the last command said of the chip: `age_s`, `temperature_c` and the like."""

    @property
    def bundle_file(self) -> str:
        """The name of the bundle's file in the store."""
        return f"bundle-{self.bundle_id[:12]}.npp"


def encode_state(state: State) -> bytes:
    """The sealed line that keeps a state.

    Raises:
        StoreError: chip or remembered values cannot be kept as JSON.
    """
    content = {
        "store_format": STORE_FORMAT,
        "bundle_id": state.bundle_id,
        "chip": state.chip,
        "retired_up_to": state.retired_up_to,
        "remembered": state.remembered,
    }
    try:
        return seal(content)
    except (ValueError, TypeError) as error:
        raise StoreError(f"this state cannot be stored: {error}; give finite values") from error


def decode_state(data: bytes | None, place: Path) -> State:
    """Check a state.

    Args:
        data: the line; None where there is none.
        place: the store.

    Raises:
        NoBundleError: nothing is installed there.
        StoreVersionError: it was written in another format.
        StoreError: it is damaged.
    """
    if data is None:
        raise NoBundleError(
            f"no bundle is installed in {place}; 'npp-agent install FILE.npp --store "
            f"{place}' installs one"
        )
    content = unseal(data)
    if content is not None and content.get("store_format") != STORE_FORMAT:
        raise StoreVersionError(
            f"the store {place} has format {content.get('store_format')!r}, this npp-agent "
            f"knows {STORE_FORMAT}; use the npp-agent that wrote it, or uninstall and install again"
        )
    state = None if content is None else _from_content(content)
    if state is None:
        raise StoreError(
            f"{place / STATE_NAME} is damaged; install the bundle again, the history is kept, or "
            f"try 'npp-agent fsck --repair --store {place}', which keeps the factors"
        )
    return state


def is_ours(data: bytes | None) -> bool:
    """Whether npp-agent wrote this state, damaged or not, or there is none at all."""
    return data is None or data.startswith(BEGIN)


def _from_content(content: Mapping[str, Any]) -> State | None:
    identity, chip = content.get("bundle_id"), content.get("chip")
    retired, remembered = content.get("retired_up_to"), content.get("remembered")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        return None
    if not (isinstance(chip, dict) and isinstance(remembered, dict) and type(retired) is int):
        return None
    return State(identity, chip, retired, remembered)
