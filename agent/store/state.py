"""`state.json`: what is installed in a store; replacing it is what installs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import NoBundleError, StoreError, StoreVersionError
from agent.store.disk import Disk
from agent.store.durable import read_file, replace_file
from agent.store.sealed import BEGIN, seal, unseal

STORE_FORMAT = 1
STATE_NAME = "state.json"
_LIMIT_BYTES = 2**20
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


def write_state(directory: Path, state: State, disk: Disk) -> int:
    """Replace the state, durably and at once; returns the bytes written.

    Raises:
        StoreError: chip or remembered values cannot be kept as JSON, or the disk refuses.
    """
    content = {
        "store_format": STORE_FORMAT,
        "bundle_id": state.bundle_id,
        "chip": state.chip,
        "retired_up_to": state.retired_up_to,
        "remembered": state.remembered,
    }
    try:
        line = seal(content)
    except (ValueError, TypeError) as error:
        raise StoreError(f"this state cannot be stored: {error}; give finite values") from error
    return replace_file(directory / STATE_NAME, line, disk)


def read_state(directory: Path, disk: Disk) -> State:
    """Read and check the state.

    Raises:
        NoBundleError: nothing is installed there.
        StoreVersionError: it was written in another format.
        StoreError: it is damaged or cannot be read.
    """
    data = read_file(directory / STATE_NAME, _LIMIT_BYTES, disk)
    if data is None:
        raise NoBundleError(
            f"no bundle is installed in {directory}; 'npp-agent install FILE.npp --store "
            f"{directory}' installs one"
        )
    content = unseal(data)
    if content is not None and content.get("store_format") != STORE_FORMAT:
        raise StoreVersionError(
            f"the store {directory} has format {content.get('store_format')!r}, this npp-agent "
            f"knows {STORE_FORMAT}; use the npp-agent that wrote it, or uninstall and install again"
        )
    state = None if content is None else _from_content(content)
    if state is None:
        raise StoreError(
            f"{directory / STATE_NAME} is damaged; install the bundle again, the history is kept"
        )
    return state


def is_ours(directory: Path, disk: Disk) -> bool:
    """Whether there is a state that npp-agent wrote, damaged or not, or none at all."""
    data = read_file(directory / STATE_NAME, _LIMIT_BYTES, disk)
    return data is None or data.startswith(BEGIN)


def _from_content(content: Mapping[str, Any]) -> State | None:
    identity, chip = content.get("bundle_id"), content.get("chip")
    retired, remembered = content.get("retired_up_to"), content.get("remembered")
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        return None
    if not (isinstance(chip, dict) and isinstance(remembered, dict) and type(retired) is int):
        return None
    return State(identity, chip, retired, remembered)
