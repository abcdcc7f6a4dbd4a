"""The store: the directory on the board that holds all that lasts.

    state.json              what is installed; replacing it is the installation
    bundle-<12 digits>.npp  the bundle that state.json names
    factors.0, factors.1    the factor slots
    buffer.bin              the sample buffer
    history.jsonl           what happened
    lock                    held while something is changed

Nothing here locks by itself: who changes something does it inside `with store.lock():`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import BundleError, NoBundleError, StoreError, StoreVersionError
from agent.store import buffer_file, history
from agent.store.directory_flash import DirectoryFlash
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.durable import make_directories, replace_file
from agent.store.layout import check_ours, is_store, remove_leftovers, remove_store
from agent.store.lock import locked
from agent.store.slots import Commit, FactorSlots, Rollback, StoredFactors
from agent.store.state import State, read_state, write_state

if TYPE_CHECKING:
    from agent.store.buffer_file import StoredBuffer
    from agent.store.bundle import Bundle
    from agent.store.history import History

_NO_BUNDLE = "0" * 64


@dataclass(frozen=True)
class Store:
    """A store in a directory, which need not exist yet."""

    directory: Path
    disk: Disk = SYSTEM_DISK

    @contextlib.contextmanager
    def lock(self, *, create: bool = False) -> Iterator[None]:
        """Keep all others from changing the store.

        Args:
            create: make the directory where there is none, to install into.

        Raises:
            StoreLockedError: another process holds the store.
            NoBundleError: there is no such store, and none was to be made.
            NotAStoreError: the directory holds the state of something else.
            StoreError: the directory cannot be made or written.
        """
        if create:
            make_directories(self.directory, self.disk)
        elif not is_store(self.directory):
            raise NoBundleError(
                f"there is no store in {self.directory}; 'npp-agent install FILE.npp --store "
                f"{self.directory}' makes one"
            )
        check_ours(self.directory, self.disk)
        with locked(self.directory):
            yield

    def state(self) -> State:
        """What is installed.

        Raises:
            NoBundleError: nothing is installed there.
            StoreVersionError: the store was written in another format.
            StoreError: the state is damaged or cannot be read.
        """
        return read_state(self.directory, self.disk)

    def bundle(self) -> Bundle:
        """The installed bundle, every part checked.

        Raises:
            BundleError: its file is missing or damaged, or is another bundle.
            StoreError: as for `state`.
        """
        state = self.state()
        try:
            return self._open(state)
        except BundleError:
            # An installation may have come between reading the state and opening the bundle.
            newer = self.state()
            if newer == state:
                raise
            return self._open(newer)

    def install(self, bundle: Bundle, chip: Mapping[str, Any]) -> State:
        """Make this the installed bundle; factors from before are retired, the history stays.

        Args:
            bundle: an opened, verified bundle.
            chip: the description of the chip, anything JSON can hold.

        Raises:
            StoreVersionError: the store was written in another format.
            StoreError: the disk refuses; what was installed before still is.
        """
        check_ours(self.directory, self.disk)
        state = State(bundle.id, chip, self._newest_sequence(), {})
        replace_file(self.directory / state.bundle_file, bundle.data, self.disk)
        write_state(self.directory, state, self.disk)
        # What is left over takes room and does no harm; the next installation tries again.
        with contextlib.suppress(StoreError):
            remove_leftovers(self.directory, state.bundle_file, self.disk)
        return state

    def remember(self, values: Mapping[str, Any]) -> State:
        """Keep values such as `age_s` and `temperature_c` for the next command.

        Raises:
            StoreError: nothing is installed, or the disk refuses; the old values stay.
        """
        state = self.state()
        newer = replace(state, remembered={**state.remembered, **values})
        if newer != state:
            write_state(self.directory, newer, self.disk)
        return newer

    def factor_slots(self) -> FactorSlots:
        """The slots as the installed bundle sees them.

        Raises:
            StoreError: as for `state`.
        """
        state = self.state()
        return FactorSlots(self._flash(), state.bundle_id, state.retired_up_to)

    def load_factors(self) -> StoredFactors | None:
        """The active factors, or None.

        Raises:
            StoreError: nothing is installed, or the slots cannot be read.
        """
        return self.factor_slots().load()

    def commit_factors(self, payload: bytes) -> Commit:
        """Make these the active factors, under a sequence number that was never used.

        Raises:
            StoreError: they do not fit or cannot be written; the active factors stay.
        """
        return self.factor_slots().commit(payload, above=self._newest_in_history())

    def rollback(self, to: int | None = None) -> Rollback:
        """Go back to older factors, by default to those before the active ones; 0 for none.

        Raises:
            NothingToRollBackError: they are not there; the sentence names what is.
            StoreError: the slots cannot be written.
        """
        return self.factor_slots().rollback(to)

    def read_buffer(self) -> StoredBuffer:
        """The sample buffer's bytes, or None and perhaps a warning.

        Raises:
            StoreError: as for `state`.
        """
        return buffer_file.read_buffer(self.directory, self.state().bundle_id, self.disk)

    def write_buffer(self, payload: bytes) -> int:
        """Replace the sample buffer's bytes; returns the bytes written.

        Raises:
            StoreError: nothing is installed, it is too large, or the disk refuses.
        """
        identity = self.state().bundle_id
        return buffer_file.write_buffer(self.directory, identity, payload, self.disk)

    def read_history(self) -> History:
        """What happened, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        return history.read_history(self.directory, self.disk)

    def append_history(self, entry: Mapping[str, Any]) -> int:
        """Add an entry to the history; an int under `sequence` keeps that number from reuse.

        Raises:
            StoreError: it is too large or no JSON, or the disk refuses.
        """
        return history.append_history(self.directory, entry, self.disk)

    def uninstall(self) -> None:
        """Remove every file of the store, and the directory if nothing else is in it.

        Raises:
            NotAStoreError: this is no store.
            StoreError: the disk refuses.
        """
        remove_store(self.directory, self.disk)

    def _open(self, state: State) -> Bundle:
        from agent.store.bundle import open_bundle  # noqa: PLC0415 - few commands need a bundle

        bundle = open_bundle(self.directory / state.bundle_file)
        if bundle.id != state.bundle_id:
            raise BundleError(
                f"{state.bundle_file} in {self.directory} has id {bundle.id[:12]}, installed was "
                f"{state.bundle_id[:12]}; install the bundle again"
            )
        return bundle

    def _newest_sequence(self) -> int:
        """The largest sequence number that any factors here have or had.

        Raises:
            StoreVersionError: the store was written in another format.
        """
        try:
            retired_up_to = self.state().retired_up_to
        except StoreVersionError:
            raise
        except StoreError:  # nothing installed, or damaged: installing is the way out
            retired_up_to = 0
        slots = FactorSlots(self._flash(), _NO_BUNDLE).slots()
        return max(retired_up_to, self._newest_in_history(), *(slot.sequence for slot in slots))

    def _newest_in_history(self) -> int:
        numbers = [entry.get("sequence") for entry in self.read_history().entries]
        return max((number for number in numbers if type(number) is int), default=0)

    def _flash(self) -> DirectoryFlash:
        return DirectoryFlash(self.directory, self.disk)
