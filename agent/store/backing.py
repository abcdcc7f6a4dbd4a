"""What a store needs of the place where it lives: a directory of files, or an image."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

from agent.store.buffer_file import StoredBuffer
from agent.store.bundle import Bundle
from agent.store.flash import Flash
from agent.store.history import History
from agent.store.state import State


class Backing(Protocol):
    """Parts of a store, each read and replaced by itself; every replacement is durable and whole.

    All methods raise StoreError where the disk refuses; what was there then stays.
    """

    def check_ours(self) -> None:
        """Make sure that nothing foreign would be overwritten, and that only we can write.

        Raises:
            NotAStoreError: it is something else.
            StoreVersionError: it was formatted by a later version.
            UntrustedStoreError: every user can write it.
        """

    def is_store(self) -> bool:
        """Whether there is a store, with a bundle or without."""

    def make(self) -> None:
        """Make a place to install into, where that needs no decision of the user."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the store; does not wait.

        Raises:
            StoreLockedError: another process holds it.
        """

    def read_state(self) -> bytes | None:
        """The sealed line of the state, or None."""

    def write_state(self, line: bytes) -> int:
        """Replace the state; returns the bytes written."""

    def read_bundle(self, state: State) -> Bundle:
        """The installed bundle.

        Raises:
            BundleError: it is missing or damaged, or is another.
        """

    def write_bundle(self, bundle: Bundle, installed: str | None) -> int:
        """Keep a bundle beside the installed one, whose id is given; returns the bytes written."""

    def flash(self) -> Flash:
        """Where the factor slots are."""

    def read_buffer(self, bundle_id: str) -> StoredBuffer:
        """The sample buffer, or a warning."""

    def write_buffer(self, bundle_id: str, payload: bytes) -> int:
        """Replace the sample buffer; returns the bytes written."""

    def clear_buffer(self) -> None:
        """Empty the sample buffer, whatever is there."""

    def read_history(self) -> History:
        """What happened, oldest first."""

    def append_history(self, entry: Mapping[str, Any]) -> int:
        """Add an entry; returns the bytes written."""

    def mend_history(self) -> None:
        """Leave out damaged lines; what cannot be read at all is set aside."""

    def remove_leftovers(self, state: State) -> None:
        """Remove what is of no use any more, such as older bundles."""

    def remove(self) -> None:
        """Remove the store, the state first and the bundles last.

        Raises:
            NotAStoreError: this is no store.
        """

    def bytes_used(self) -> int:
        """What the store takes."""
