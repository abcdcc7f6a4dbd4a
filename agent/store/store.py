"""The store: what lasts on the board, in a directory, an image file, a partition or a NOR flash.

    state     what is installed; replacing it is the installation
    bundle    the one that the state names
    factors   in slots
    buffer    the samples
    history   what happened

Nothing here locks by itself: who changes something does it inside `with store.lock():`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import BundleError, NoBundleError, StoreError, StoreVersionError
from agent.store.disk import SYSTEM_DISK, Disk
from agent.store.medium import Medium
from agent.store.slots import Commit, FactorSlots, Rollback, StoredFactors
from agent.store.state import State, Trust, decode_state, encode_state
from agent.store.trusted import accepted, pinned

if TYPE_CHECKING:
    from agent.store.backing import Backing
    from agent.store.buffer_file import StoredBuffer
    from agent.store.bundle import Bundle
    from agent.store.history import History

_NO_BUNDLE = "0" * 64


@dataclass(frozen=True)
class Store:
    """A store in a directory, which need not exist yet, or in an image, which must."""

    path: Path
    """The directory, the image file or the device."""
    disk: Disk = SYSTEM_DISK
    medium: Medium | None = None
    """An image that is not in a file."""

    @property
    def directory(self) -> Path:
        """The same as `path`, for who knows that the store is a directory."""
        return self.path

    @property
    def backing(self) -> Backing:
        """The place behind the path, as it is now."""
        from agent.store.backings import backing_of  # noqa: PLC0415 - it imports all of them

        return backing_of(self.path, self.disk, self.medium)

    @contextlib.contextmanager
    def lock(self, *, create: bool = False, check: bool = True) -> Iterator[None]:
        """Keep all others from changing the store.

        Args:
            create: make the directory where there is none, to install into.
            check: refuse what is not ours or can be written by all; only a repair does not.

        Raises:
            StoreLockedError: another process holds the store.
            NoBundleError: there is no such store, and none was to be made.
            NotAStoreError: the directory holds the state of something else.
            UntrustedStoreError: every user can write it.
            StoreError: the directory cannot be made or written.
        """
        backing = self.backing
        if create:
            backing.make()
        elif not backing.is_store():
            raise NoBundleError(
                f"there is no store in {self.path}; 'npp-agent install FILE.npp --store "
                f"{self.path}' makes one"
            )
        if check:
            backing.check_ours()
        with backing.locked():
            yield

    def state(self) -> State:
        """What is installed.

        Raises:
            NoBundleError: nothing is installed there.
            StoreVersionError: the store was written in another format.
            StoreError: the state is damaged or cannot be read.
        """
        backing = self.backing
        line = backing.read_state()
        backing.check_ours()
        return decode_state(line, self.path)

    def bundle(self) -> Bundle:
        """The installed bundle, every part checked.

        Raises:
            BundleError: its file is missing or damaged, or is another bundle.
            StoreError: as for `state`.
        """
        state = self.state()
        try:
            return self.backing.read_bundle(state)
        except BundleError:
            # An installation may have come between reading the state and opening the bundle.
            newer = self.state()
            if newer == state:
                raise
            return self.backing.read_bundle(newer)

    def install(
        self,
        bundle: Bundle,
        chip: Mapping[str, Any],
        *,
        origin: Bundle | None = None,
        public_key: bytes | None = None,
    ) -> State:
        """Make this the installed bundle; factors from before are retired, the history stays.

        Args:
            bundle: an opened, verified bundle.
            chip: the description of the chip, anything JSON can hold.
            origin: the bundle that this one was made of here, whose signature counts.
            public_key: from now on only what this key has signed is installed.

        Raises:
            BundleError: the store knows a key, and this bundle is not signed with it, or is older.
            StoreVersionError: the store was written in another format.
            StoreError: the disk refuses; what was installed before still is.
        """
        backing = self.backing
        backing.check_ours()
        installed, retired_up_to, trust = self._installed()
        trust = accepted(origin or bundle, pinned(trust, public_key))
        state = State(bundle.id, chip, self._newest_sequence(retired_up_to), {}, trust)
        line = encode_state(state)
        backing.write_bundle(bundle, installed)
        backing.write_state(line)
        # What is left over takes room and does no harm; the next installation tries again.
        with contextlib.suppress(StoreError):
            backing.remove_leftovers(state)
        return state

    def remember(self, values: Mapping[str, Any]) -> State:
        """Keep values such as `age_s` and `temperature_c` for the next command.

        Raises:
            StoreError: nothing is installed, or the disk refuses; the old values stay.
        """
        state = self.state()
        newer = replace(state, remembered={**state.remembered, **values})
        if newer != state:
            self.backing.write_state(encode_state(newer))
        return newer

    def factor_slots(self) -> FactorSlots:
        """The slots as the installed bundle sees them.

        Raises:
            StoreError: as for `state`.
        """
        state = self.state()
        return FactorSlots(self.backing.flash(), state.bundle_id, state.retired_up_to)

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
        return self.backing.read_buffer(self.state().bundle_id)

    def write_buffer(self, payload: bytes) -> int:
        """Replace the sample buffer's bytes; returns the bytes written.

        Raises:
            StoreError: nothing is installed, it is too large, or the disk refuses.
        """
        identity = self.state().bundle_id
        return self.backing.write_buffer(identity, payload)

    def read_history(self) -> History:
        """What happened, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        return self.backing.read_history()

    def append_history(self, entry: Mapping[str, Any]) -> int:
        """Add an entry to the history; an int under `sequence` keeps that number from reuse.

        Raises:
            StoreError: it is too large or no JSON, or the disk refuses.
        """
        return self.backing.append_history(entry)

    def uninstall(self) -> None:
        """Remove every file of the store, and the directory if nothing else is in it.

        An image stays, formatted and empty.

        Raises:
            NotAStoreError: this is no store.
            StoreError: the disk refuses.
        """
        self.backing.remove()

    def _installed(self) -> tuple[str | None, int, Trust | None]:
        """The id of the installed bundle, what is retired, whom we trust; None where unknown.

        Raises:
            StoreVersionError: the store was written in another format.
            StoreError: the disk refuses to read, so what is there may be whole.
        """
        try:
            state = self.state()
        except StoreVersionError:
            raise
        except StoreError as error:
            if isinstance(error.__cause__, OSError):
                raise
            return None, 0, None  # nothing installed, or damaged: installing is the way out
        return state.bundle_id, state.retired_up_to, state.trust

    def _newest_sequence(self, retired_up_to: int) -> int:
        """The largest sequence number that any factors here have or had."""
        slots = FactorSlots(self.backing.flash(), _NO_BUNDLE).slots()
        return max(retired_up_to, self._newest_in_history(), *(slot.sequence for slot in slots))

    def _newest_in_history(self) -> int:
        numbers = [entry.get("sequence") for entry in self.read_history().entries]
        return max((number for number in numbers if type(number) is int), default=0)
