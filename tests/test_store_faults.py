"""A disk that fails at every operation: one sentence, and nothing is lost."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.errors import (
    StoreError,
)
from agent.store.slots import StoredFactors
from agent.store.store import Store
from tests.fake_disks import FailingDisk
from tests.fakes import copy_tree
from tests.store_places import SLOW_IMAGES, make_place
from tests.store_samples import SECOND, used_store

SENTENCES = {
    errno.ENOSPC: "the disk is full",
    errno.EROFS: "read-only",
    errno.EIO: "input/output error",
    errno.EACCES: "permission is denied",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return used_store(tmp_path / "place" / "store")


CHANGES: dict[str, Callable[[Store], Any]] = {
    "install": lambda store: store.install(SECOND, {"preset": "ideal"}),
    "commit": lambda store: store.commit_factors(b"three" * 100),
    "rollback": lambda store: store.rollback(),
    "history": lambda store: store.append_history({"n": 2}),
    "buffer": lambda store: store.write_buffer(b"newer" * 100),
    "remember": lambda store: store.remember({"age_s": 90.0}),
}


def seen(store: Store) -> dict[str, Any]:
    state = store.state()
    return {
        "installed": store.bundle().id,
        "chip": state.chip,
        "remembered": state.remembered,
        "factors": store.load_factors(),
        "buffer": store.read_buffer(),
        "history": store.read_history().entries,
    }


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("number", SENTENCES)
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("place", SLOW_IMAGES)
def test_a_disk_that_fails_at_any_operation_costs_nothing(
    tmp_path: Path, place: str, name: str, number: int, *, for_good: bool
) -> None:
    (tmp_path / "place").mkdir()
    store = used_store(make_place(place, tmp_path / "place" / "store"))
    old, handles, count = seen(store), open_files(), 0
    said: list[str] = []
    healthy = Store(copy_tree(store.path.parent, tmp_path / "healthy") / "store")
    CHANGES[name](healthy)
    new = seen(healthy)
    for fail_at in itertools.count():
        live = copy_tree(store.path.parent, tmp_path / "live") / "store"
        disk = FailingDisk(fail_at, number, for_good=for_good)
        try:
            CHANGES[name](Store(live, disk))
        except StoreError as error:
            said.append(str(error))
        assert seen(Store(live)) in (old, new)
        if open_files() != handles:
            pytest.fail(f"a file stays open after failure {fail_at}")
        if not for_good and place == "directory":
            leftovers = [path.name for path in live.iterdir() if path.name.endswith(".tmp")]
            assert leftovers in ([], [".state.json.tmp"] if name == "install" else [])
        if not disk.failures:
            break
        count += 1
    assert count >= 6
    # A NOR flash tries another slot where one fails, and so may succeed.
    assert place == "nor" or len(said) >= count - 8, "only tidying up may fail in silence"
    assert all(SENTENCES[number] in sentence and "\n" not in sentence for sentence in said)


def test_a_full_disk_during_a_commit_keeps_the_active_factors(store: Store) -> None:
    for fail_at in range(40):
        disk = FailingDisk(fail_at, errno.ENOSPC, for_good=True)
        try:
            Store(store.directory, disk).commit_factors(b"three" * 1000)
        except StoreError:
            found = store.load_factors()
            assert found is not None
            if found.sequence > 2:
                return
            assert found == StoredFactors(2, b"two")
    pytest.fail("no failure came after the header was written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_one_sentence(store: Store) -> None:
    store.directory.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="permission is denied"):
            store.remember({"age_s": 1.0})
    finally:
        store.directory.chmod(0o700)
