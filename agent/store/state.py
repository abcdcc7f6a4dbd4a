"""`state.json`: what is installed in a store; replacing it is what installs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.errors import NoBundleError, StoreError, StoreVersionError
from agent.store.sealed import BEGIN, seal, unseal

STORE_FORMAT = 2
STATE_NAME = "state.json"
MAX_BYTES = 2**20
_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Trust:
    """The one whose bundles a store takes."""

    public_key: str
    """64 hexadecimal digits: an Ed25519 key."""
    version: int
    """Of the newest bundle that was installed; older ones are refused."""


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
    trust: Trust | None = None
    """Whose bundles may be installed; None for anyone's."""

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
        "trust": None if state.trust is None else asdict(state.trust),
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
    if content is not None:
        content = _upgraded(content)
    if content is not None and content.get("store_format") != STORE_FORMAT:
        raise StoreVersionError(
            f"the store {place} has format {content.get('store_format')!r}, this npp-agent knows 1 "
            f"to {STORE_FORMAT}; use the npp-agent that wrote it, or uninstall and install again"
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
    try:
        trust = trust_from(content.get("trust"))
    except ValueError:
        return None
    return State(identity, chip, retired, remembered, trust)


def trust_from(value: Any) -> Trust | None:
    """Read what `asdict` made of a `Trust`, or None.

    Raises:
        ValueError: it is neither.
    """
    if value is None:
        return None
    content = value if isinstance(value, dict) else {}
    key, version = content.get("public_key"), content.get("version")
    if not (isinstance(key, str) and _ID.fullmatch(key) and type(version) is int and version >= 0):
        raise ValueError("this is no key with a version")
    return Trust(key, version)


def _from_1_to_2(content: Mapping[str, Any]) -> dict[str, Any]:
    """Format 1, of version 0.1, knew no signatures: everybody's bundles were taken."""
    return {**content, "store_format": 2, "trust": None}


_UPGRADES: dict[object, Callable[[Mapping[str, Any]], dict[str, Any]]] = {1: _from_1_to_2}
"""From each older format to the next. What was read so is written anew with the next change."""


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    while upgrade := _UPGRADES.get(content.get("store_format")):
        content = upgrade(content)
    return content
