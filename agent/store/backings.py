"""Which kind of place a path is: a file or block device is an image, all else a directory."""

from __future__ import annotations

import stat
from pathlib import Path

from agent.store.backing import Backing
from agent.store.directory_backing import DirectoryBacking
from agent.store.disk import Disk
from agent.store.medium import Medium


def backing_of(path: Path, disk: Disk, medium: Medium | None = None) -> Backing:
    """The place behind a path; nothing is read but what kind of file it is."""
    if medium is not None or is_image(path):
        from agent.store.image_backing import ImageBacking  # noqa: PLC0415 - most are directories

        return ImageBacking(path, disk, medium)
    return DirectoryBacking(path, disk)


def is_image(path: Path) -> bool:
    """Whether a path is a file or a block device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
