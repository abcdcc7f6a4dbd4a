"""What is wrong with the place itself: permissions, stray files, the superblock of an image."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from agent.fsck.findings import Finding, damaged, note, sound
from agent.store import layout
from agent.store.disk import Disk
from agent.store.durable import disk_errors, remove_files
from agent.store.image_backing import ImageBacking
from agent.store.image_format import rewrite_superblocks
from agent.store.state import State
from agent.store.store import Store
from agent.store.trust import writable_by_all

Later = Callable[[State | None], list[Finding]]
"""Asked when the installed bundle is known to be whole, with the state, or with None."""


def place_findings(store: Store) -> Later:
    """Look at the place; what is left over is told when the rest is known.

    Raises:
        StoreError: the place cannot be read, or is something else.
    """
    backing = store.backing
    if isinstance(backing, ImageBacking):
        image = _image_findings(store, backing)
        return lambda _: image
    layout.check_ours(store.path, store.disk)
    paths = [store.path, *layout.our_files(store.path)]
    return lambda state: [
        *_permissions(paths),
        *_leftovers(store.path, store.disk, state),
    ]


def _permissions(paths: list[Path]) -> list[Finding]:
    found = [
        damaged(
            "permissions",
            f"every user can write {path.name or path}: the store is refused",
            f"write permission of others removed from {path.name or path}",
            _closing(path),
        )
        for path in writable_by_all(paths)
    ]
    return found or [sound("permissions", "only the owner and the group can write")]


def _closing(path: Path) -> Callable[[], None]:
    def close() -> None:
        with disk_errors(f"change the permissions of {path}"):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~stat.S_IWOTH)

    return close


def _leftovers(directory: Path, disk: Disk, state: State | None) -> list[Finding]:
    """Temporary files; other bundles only where the installed one is whole."""
    stray = layout.temporary_files(directory)
    if state is not None:
        stray += layout.other_bundles(directory, state.bundle_file)
    if not stray:
        return []
    names = ", ".join(path.name for path in stray)
    return [
        note(
            "leftovers",
            f"left by interrupted writes: {names}",
            f"{names} removed",
            lambda: remove_files(stray, disk),
        )
    ]


def _image_findings(store: Store, backing: ImageBacking) -> list[Finding]:
    image = backing.image()
    found = _permissions([] if backing.medium is not None else [store.path])
    whole = sum(image.copies)
    kind = image.superblock.memory.name.lower()
    if whole == len(image.copies):
        text = f"{kind}, {image.superblock.size_bytes} bytes, both copies alike"
        found.append(sound("superblock", text))
    else:
        found.append(
            damaged(
                "superblock",
                f"{len(image.copies) - whole} of its copies is damaged",
                "copied from the whole one",
                lambda: rewrite_superblocks(image),
            )
        )
    bad = [image.superblock.units[number] for number in sorted(image.bad)]
    if bad:
        names = ", ".join(f"{unit.region.name.lower()} {unit.index}" for unit in bad)
        found.append(note("wear", f"marked bad and not written any more: {names}"))
    return found
