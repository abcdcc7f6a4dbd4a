"""Nothing that every user can write is trusted: factors decide what the network answers.

Who can write a directory can put other files, or links, in the place of ours; who can write a file
can change it between two reads. So such a store is refused, not warned of; one command mends it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from agent.errors import UntrustedStoreError


def writable_by_all(paths: Iterable[Path]) -> list[Path]:
    """Those of the paths that exist and that every user of the machine can write.

    A link counts as what it leads to, a directory with the sticky bit as any other.
    """
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & stat.S_IWOTH:
            found.append(path)
    return found


def check_trusted(paths: Iterable[Path]) -> None:
    """Refuse what every user can write.

    Raises:
        UntrustedStoreError: one of the paths is so.
    """
    for path in writable_by_all(paths):
        raise UntrustedStoreError(
            f"every user of this machine can write {path}, so what is in it cannot be trusted: see "
            f"that it is yours, then run: chmod o-w {path}"
        )
