"""The store in ordinary use: what is kept, what is said, who may enter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import (
    AgentError,
    BundleError,
    NoBundleError,
    NotAStoreError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)
from agent.link.staging import StagingArea
from agent.store.buffer_file import StoredBuffer
from agent.store.layout import UPLOADS
from agent.store.sealed import seal, unseal
from agent.store.slots import Rollback, StoredFactors
from agent.store.status import status_of
from agent.store.store import Store
from tests.fake_disks import FailingDisk
from tests.store_samples import CHIP, FIRST, SECOND, used_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return used_store(tmp_path / "place" / "store")


def test_what_was_stored_is_there_after_a_restart(store: Store) -> None:
    again = Store(store.directory)
    state = again.state()
    assert (state.bundle_id, state.chip, state.remembered) == (FIRST.id, CHIP, {"age_s": 60.0})
    assert again.bundle().document == {"model": "first"}
    assert again.load_factors() == StoredFactors(2, b"two")
    assert again.read_buffer() == StoredBuffer(b"samples")
    assert again.read_history().entries == ({"event": "calibrated", "sequence": 1},)


def test_the_status_says_what_is_there(store: Store) -> None:
    status = status_of(store)
    assert (status.sequence, status.older, status.history_entries) == (2, (1,), 1)
    assert status.bytes_used == sum(path.stat().st_size for path in store.directory.iterdir())
    assert [slot.usable for slot in status.slots] == [True, True]


def test_another_bundle_retires_the_factors_and_keeps_the_history(store: Store) -> None:
    store.install(SECOND, {"preset": "ideal"})
    assert store.bundle().id == SECOND.id
    assert store.load_factors() is None
    assert store.read_buffer() == StoredBuffer(None)
    assert store.state().remembered == {}
    assert len(store.read_history().entries) == 1
    assert [p.name for p in store.directory.glob("*.npp")] == [f"bundle-{SECOND.id[:12]}.npp"]
    assert store.commit_factors(b"three").sequence == 3


def test_the_same_bundle_on_another_chip_does_not_get_the_old_chips_factors(store: Store) -> None:
    store.install(FIRST, {"preset": "mismatch-10", "seed": 4})
    assert store.load_factors() is None
    store.install(SECOND, CHIP)
    store.install(FIRST, CHIP)
    assert store.load_factors() is None, "nor do they come back with the bundle"


def test_rolling_back_leads_through_the_slots(store: Store) -> None:
    assert store.rollback() == Rollback(2, 1)
    assert store.load_factors() == StoredFactors(1, b"one")
    assert store.rollback(0) == Rollback(1, 0)
    assert store.load_factors() is None


def test_remembering_what_is_known_writes_nothing(store: Store) -> None:
    silent = Store(store.directory, WriteForbidden())
    assert silent.remember({"age_s": 60.0}).remembered == {"age_s": 60.0}
    with pytest.raises(AssertionError, match="write"):
        silent.remember({"age_s": 61.0})


class WriteForbidden(FailingDisk):
    """A disk that is only read."""

    def __init__(self) -> None:
        super().__init__(-1, 0)

    def open(self, path: Path) -> int:
        raise AssertionError(f"write to {path}")


def test_uninstalling_leaves_nothing_of_ours_and_all_of_others(store: Store) -> None:
    other = store.directory / "notes.txt"
    other.write_text("mine")
    (store.directory / ".state.json.tmp").write_text("left by a cut")
    with store.lock():
        store.uninstall()
    assert list(store.directory.iterdir()) == [other]
    with pytest.raises(NotAStoreError, match="is no store; nothing was removed"):
        store.uninstall()


def test_uninstalling_removes_an_empty_directory(store: Store) -> None:
    with store.lock():
        store.uninstall()
    assert not store.directory.exists()
    with pytest.raises(NoBundleError, match="there is no store in"), store.lock():
        pass


def test_uninstalling_removes_the_uploads_that_wait(store: Store) -> None:
    StagingArea(store.directory / UPLOADS).write("a.npp", 0, b"half a bundle", 100)
    with store.lock():
        store.uninstall()
    assert not store.directory.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_uninstalling_leaves_uploads_of_others(store: Store, tmp_path: Path, linked: bool) -> None:  # noqa: FBT001  # a parameter
    uploads = store.directory / UPLOADS
    if linked:
        elsewhere = tmp_path / "elsewhere"
        StagingArea(elsewhere).write("a.npp", 0, b"theirs", 6)
        uploads.symlink_to(elsewhere)
    else:
        uploads.mkdir()
        (uploads / "photo.jpg").write_text("mine")
        StagingArea(uploads).write("a.npp", 0, b"not alone here", 14)
    before = {path.name: path.read_bytes() for path in uploads.iterdir()}
    with store.lock():
        store.uninstall()
    assert {path.name: path.read_bytes() for path in uploads.iterdir()} == before
    assert list(store.directory.iterdir()) == [uploads]


def test_a_directory_in_the_staging_area_stays(store: Store) -> None:
    uploads = store.directory / UPLOADS
    StagingArea(uploads).write("a.npp", 0, b"ours", 4)
    (uploads / "theirs").mkdir()
    with store.lock():
        store.uninstall()
    assert list(uploads.iterdir()) == [uploads / "theirs"]


@pytest.mark.parametrize("name", ["state.json", "photo.jpg", "lock", "history.jsonl"])
def test_a_foreign_directory_is_neither_uninstalled_nor_overwritten(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text('{"important": "data"}')
    store = Store(tmp_path)
    with pytest.raises(NotAStoreError):
        store.uninstall()
    with pytest.raises(StoreError), store.lock():
        store.uninstall()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "state.json":
        with pytest.raises(NotAStoreError, match="was not written by npp-agent"):
            store.install(FIRST, CHIP)
        with pytest.raises(NotAStoreError), store.lock(create=True):
            pass


USES: list[Callable[[Store], Any]] = [
    Store.state,
    Store.bundle,
    Store.load_factors,
    Store.rollback,
    Store.read_buffer,
    status_of,
    lambda store: store.commit_factors(b""),
    lambda store: store.write_buffer(b""),
    lambda store: store.remember({}),
]


@pytest.mark.parametrize("use", USES)
def test_a_store_without_a_bundle_says_how_to_get_one(
    tmp_path: Path, use: Callable[[Store], Any]
) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NoBundleError, match=r"no bundle is installed in .*install FILE\.npp"):
            use(Store(directory))


@pytest.mark.parametrize("use", [*USES, lambda store: store.install(SECOND, {})])
def test_a_store_of_another_format_is_left_alone(store: Store, use: Callable[[Store], Any]) -> None:
    content = unseal((store.directory / "state.json").read_bytes())
    assert content is not None
    (store.directory / "state.json").write_bytes(seal({**content, "store_format": 3}))
    before = {path: path.read_bytes() for path in store.directory.iterdir()}
    with pytest.raises(StoreVersionError, match="has format 3, this npp-agent knows 1 to 2"):
        use(store)
    assert {path: path.read_bytes() for path in store.directory.iterdir()} == before


def test_a_damaged_state_is_said_and_mended_by_installing(store: Store) -> None:
    path = store.directory / "state.json"
    path.write_bytes(path.read_bytes().replace(b'"seed":3', b'"seed":4'))
    with pytest.raises(StoreError, match=r"state\.json is damaged; install the bundle again"):
        store.state()
    store.install(FIRST, CHIP)
    assert store.load_factors() is None
    assert store.commit_factors(b"new").sequence == 3
    assert len(store.read_history().entries) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"bundle_id": "../../etc/passwd"},
        {"bundle_id": 5},
        {"chip": None},
        {"retired_up_to": "many"},
        {"remembered": []},
        {"trust": {"public_key": "00", "version": 1}},
        {"trust": {"public_key": "0" * 64, "version": -1}},
    ],
)
def test_a_state_that_makes_no_sense_is_damaged(store: Store, change: dict[str, Any]) -> None:
    path = store.directory / "state.json"
    content = unseal(path.read_bytes())
    assert content is not None
    path.write_bytes(seal({**content, **change}))
    with pytest.raises(StoreError, match="is damaged"):
        store.state()


def test_a_missing_damaged_or_swapped_bundle_is_named(store: Store) -> None:
    path = store.directory / store.state().bundle_file
    path.write_bytes(FIRST.data[:-5])
    with pytest.raises(BundleError, match=f"{path.name} is truncated"):
        store.bundle()
    path.write_bytes(SECOND.data)
    with pytest.raises(BundleError, match=f"has id {SECOND.id[:12]}, installed was"):
        store.bundle()
    path.unlink()
    with pytest.raises(BundleError, match=f"there is no bundle .*{path.name}"):
        store.bundle()


def test_values_that_json_cannot_hold_are_refused_and_change_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match="finite"):
        store.remember({"age_s": float("nan")})
    with pytest.raises(StoreError, match="cannot be stored"):
        store.install(FIRST, {"seed": np.int64(3)})
    with pytest.raises(StoreError, match="cannot be kept"):
        store.append_history({"error": float("inf")})
    assert store.state().chip == CHIP
    assert store.load_factors() == StoredFactors(2, b"two")


def test_two_processes_cannot_hold_one_store(store: Store) -> None:
    program = (
        "import sys; from pathlib import Path; from agent.store.store import Store\n"
        f"with Store(Path({str(store.directory)!r})).lock():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError, match="another npp-agent works on") as caught:
            store.lock().__enter__()
        assert caught.value.exit_code == 4
        assert store.load_factors() == StoredFactors(2, b"two"), "reading needs no lock"
        other.kill()
    with store.lock():
        pass  # the system drops the lock of a process that died


def test_a_lock_is_not_taken_twice_in_one_process(store: Store) -> None:
    with store.lock():
        with pytest.raises(StoreLockedError), store.lock():
            pass
        with pytest.raises(StoreLockedError), store.lock():
            pass
    with store.lock():
        pass


def test_every_error_is_an_agent_error_with_an_exit_code() -> None:
    assert (AgentError.exit_code, BundleError.exit_code, NoBundleError.exit_code) == (1, 1, 1)
    assert StoreLockedError.exit_code == 4
    assert issubclass(StoreLockedError, StoreError)
    assert issubclass(StoreError, AgentError)
