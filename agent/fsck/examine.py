"""Looking at a whole store, and repairing what can be repaired, part after part."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import BundleError, InputError, NoBundleError, StoreError
from agent.fsck.findings import Finding, damaged, is_sound, note, sound
from agent.fsck.places import place_findings
from agent.fsck.rebuild import rebuilt_state
from agent.fsck.slots import factor_findings
from agent.store.backing import Backing
from agent.store.bundle import Bundle
from agent.store.image_backing import ImageBacking
from agent.store.state import State, decode_state, encode_state, is_ours
from agent.store.store import Store

_ROUNDS = 3
"""A repaired state lets the bundle be looked at, and a repaired bundle the leftovers."""


@dataclass(frozen=True)
class Examination:
    """What was found in the end, and what was done about it on the way."""

    findings: tuple[Finding, ...]
    repaired: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged any more."""
        return is_sound(self.findings)


def examine(store: Store, bundle: Bundle | None = None) -> tuple[Finding, ...]:
    """Everything that there is to say about a store; changes nothing.

    Args:
        store: where.
        bundle: what a damaged bundle may be restored from.

    Raises:
        NoBundleError: there is no store.
        NotAStoreError: it is something else.
        StoreVersionError: it was written in another format.
        StoreError: the disk cannot be read at all.
    """
    backing = store.backing
    if not backing.is_store():
        raise NoBundleError(f"there is no store in {store.path}; nothing to check")
    place = place_findings(store)
    state, found = _state_findings(store, backing)
    intact = None
    if state is not None:
        intact, about_bundle = _bundle_finding(backing, state, bundle)
        found.append(about_bundle)
    found += factor_findings(store, backing, state)
    if state is not None:
        found.append(_buffer_finding(backing, state))
    found += _history_findings(backing)
    return (*place(state if intact else None), *found)


def repair(store: Store, bundle: Bundle | None = None) -> Examination:
    """Repair what can be; the store is locked by the caller.

    Raises:
        StoreError: as `examine`, or a repair failed; what was not repaired is as it was.
    """
    done: list[str] = []
    for _ in range(_ROUNDS):
        findings = examine(store, bundle)
        possible = [finding for finding in findings if finding.repair is not None]
        if not possible:
            return Examination(findings, tuple(done))
        for finding in possible:
            assert finding.repair is not None
            finding.repair()
            done.append(f"{finding.part}: {finding.remedy}")
    return Examination(examine(store, bundle), tuple(done))


def check_is_installed(store: Store, bundle: Bundle) -> None:
    """Refuse a bundle to restore from that is not the installed one, if that is known.

    Raises:
        InputError: it is another.
    """
    try:
        installed = decode_state(store.backing.read_state(), store.path).bundle_id
    except StoreError:
        return
    if installed != bundle.id:
        raise InputError(
            f"{bundle.name} has id {bundle.id[:12]}, installed in {store.path} is "
            f"{installed[:12]}: give the file that was installed"
        )


def _state_findings(store: Store, backing: Backing) -> tuple[State | None, list[Finding]]:
    line = backing.read_state()
    try:
        state = decode_state(line, store.path)
    except NoBundleError:
        lost = isinstance(backing, ImageBacking) and any(
            segment.damaged for segment in backing.state_log().segments()
        )
        if lost and rebuilt_state(backing) is not None:
            return None, [_damaged_state(backing)]
        return None, [note("state", "nothing is installed")]
    except StoreError as error:
        if type(error) is not StoreError or not is_ours(line):
            raise  # of another format, or of another program
        return None, [_damaged_state(backing)]
    chip = state.chip.get("name", "a chip")
    return state, [sound("state", f"bundle {state.bundle_id[:12]} on {chip}")]


def _damaged_state(backing: Backing) -> Finding:
    text = "what is installed cannot be read"
    rebuilt = rebuilt_state(backing)
    if rebuilt is None:
        return damaged("state", f"{text}, and the history does not say it: install again")
    line = encode_state(rebuilt)
    return damaged(
        "state",
        text,
        f"rebuilt from the history: bundle {rebuilt.bundle_id[:12]}, conditions as at the last "
        "calibration",
        lambda: backing.write_state(line),
    )


def _bundle_finding(backing: Backing, state: State, bundle: Bundle | None) -> tuple[bool, Finding]:
    try:
        found = backing.read_bundle(state)
    except BundleError as error:
        if bundle is None or bundle.id != state.bundle_id:
            text = f"{error}; 'fsck --repair --bundle FILE.npp' restores it and keeps the factors"
            return False, damaged("bundle", text)
        restored = bundle
        return False, damaged(
            "bundle",
            str(error),
            f"restored from {bundle.name}",
            lambda: backing.write_bundle(restored, state.bundle_id),
        )
    return True, sound("bundle", f"{found.id[:12]}, {len(found.data)} bytes, every part checked")


def _buffer_finding(backing: Backing, state: State) -> Finding:
    stored = backing.read_buffer(state.bundle_id)
    if stored.warning is None:
        size = "empty" if stored.payload is None else f"{len(stored.payload)} bytes"
        return sound("buffer", size)
    if stored.unreadable:
        return damaged("buffer", stored.warning)
    return damaged("buffer", stored.warning, "emptied; it fills again", backing.clear_buffer)


def _history_findings(backing: Backing) -> list[Finding]:
    try:
        history = backing.read_history()
    except StoreError as error:
        return [
            damaged(
                "history",
                str(error),
                "set aside as history.jsonl.damaged; it begins anew",
                backing.mend_history,
            )
        ]
    found = [sound("history", f"{len(history.entries)} entries")]
    if history.damaged_lines:
        text = f"{history.damaged_lines} damaged lines, left by a power cut or a bad disk"
        if isinstance(backing, ImageBacking):
            found.append(note("history", f"{text}; they leave when their segment is erased"))
        else:
            found.append(note("history", text, "damaged lines removed", backing.mend_history))
    return found
