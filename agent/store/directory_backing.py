"""A store in a directory: one file for each part."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import BundleError
from agent.store import buffer_file, history, layout
from agent.store.buffer_file import StoredBuffer
from agent.store.bundle import Bundle, open_bundle
from agent.store.directory_flash import DirectoryFlash
from agent.store.disk import Disk
from agent.store.durable import disk_errors, make_directories, read_file, remove_files, replace_file
from agent.store.history import History
from agent.store.lock import locked
from agent.store.state import MAX_BYTES, STATE_NAME, State
from agent.store.trust import check_trusted


@dataclass(frozen=True)
class DirectoryBacking:
    """Implements `Backing` on files."""

    directory: Path
    disk: Disk

    def check_ours(self) -> None:
        """See `Backing.check_ours`."""
        layout.check_ours(self.directory, self.disk)
        check_trusted([self.directory, *layout.our_files(self.directory)])

    def is_store(self) -> bool:
        """See `Backing.is_store`."""
        return layout.is_store(self.directory)

    def make(self) -> None:
        """See `Backing.make`."""
        make_directories(self.directory, self.disk)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """See `Backing.locked`."""
        return locked(self.directory)

    def read_state(self) -> bytes | None:
        """See `Backing.read_state`."""
        return read_file(self.directory / STATE_NAME, MAX_BYTES, self.disk)

    def write_state(self, line: bytes) -> int:
        """See `Backing.write_state`."""
        return replace_file(self.directory / STATE_NAME, line, self.disk)

    def read_bundle(self, state: State) -> Bundle:
        """See `Backing.read_bundle`."""
        bundle = open_bundle(self.directory / state.bundle_file)
        if bundle.id != state.bundle_id:
            raise BundleError(
                f"{state.bundle_file} in {self.directory} has id {bundle.id[:12]}, installed was "
                f"{state.bundle_id[:12]}; install the bundle again"
            )
        return bundle

    def write_bundle(self, bundle: Bundle, installed: str | None) -> int:  # noqa: ARG002 - every bundle has a file of its own
        """See `Backing.write_bundle`."""
        path = self.directory / State(bundle.id, {}, 0, {}).bundle_file
        return replace_file(path, bundle.data, self.disk)

    def flash(self) -> DirectoryFlash:
        """See `Backing.flash`."""
        return DirectoryFlash(self.directory, self.disk)

    def read_buffer(self, bundle_id: str) -> StoredBuffer:
        """See `Backing.read_buffer`."""
        return buffer_file.read_buffer(self.directory, bundle_id, self.disk)

    def write_buffer(self, bundle_id: str, payload: bytes) -> int:
        """See `Backing.write_buffer`."""
        return buffer_file.write_buffer(self.directory, bundle_id, payload, self.disk)

    def clear_buffer(self) -> None:
        """See `Backing.clear_buffer`."""
        remove_files([self.directory / buffer_file.BUFFER_NAME], self.disk)

    def read_history(self) -> History:
        """See `Backing.read_history`."""
        return history.read_history(self.directory, self.disk)

    def append_history(self, entry: Mapping[str, Any]) -> int:
        """See `Backing.append_history`."""
        return history.append_history(self.directory, entry, self.disk)

    def mend_history(self) -> None:
        """See `Backing.mend_history`."""
        history.mend_history(self.directory, self.disk)

    def remove_leftovers(self, state: State) -> None:
        """See `Backing.remove_leftovers`."""
        layout.remove_leftovers(self.directory, state.bundle_file, self.disk)

    def remove(self) -> None:
        """See `Backing.remove`."""
        layout.remove_store(self.directory, self.disk)

    def bytes_used(self) -> int:
        """See `Backing.bytes_used`."""
        with disk_errors(f"read {self.directory}"):
            return sum(path.stat().st_size for path in layout.our_files(self.directory))
