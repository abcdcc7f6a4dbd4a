"""The power goes at every operation that changes a store: old or new is found, nothing else."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import NoBundleError
from agent.store import history as history_module
from agent.store.image_backing import ImageBacking
from agent.store.layout import our_files
from agent.store.sealed import seal, unseal
from agent.store.store import Store
from tests.fake_disks import PowerCutDisk
from tests.fakes import PowerLoss, copy_tree
from tests.store_places import PLACES, make_place
from tests.store_samples import CHIP, FIRST, SECOND, bundle_named

SEEDS: tuple[int | None, ...] = (None, -1, *range(12))
"""None: nothing that was not synced survives. -1: all does. Else each piece by chance."""
FEW_SEEDS = SEEDS[:4]

THIRD = bundle_named("third")

Change = Callable[[Store], None]


def observed(store: Store) -> dict[str, Any]:
    """Everything that a user can see in a store."""
    history = store.read_history().entries
    try:
        state = store.state()
    except NoBundleError:
        return {"installed": None, "history": history}
    return {
        "installed": store.bundle().id,
        "chip": state.chip,
        "remembered": state.remembered,
        "factors": store.load_factors(),
        "buffer": store.read_buffer(),
        "history": history,
    }


def install_first(store: Store) -> None:
    with store.lock(create=True):
        store.install(FIRST, CHIP)


def install_second(store: Store) -> None:
    with store.lock(create=True):
        store.install(SECOND, {"preset": "ideal"})


def commit(store: Store) -> None:
    store.commit_factors(b"new factors " * 200)


def roll_back(store: Store) -> None:
    store.rollback()


def roll_back_to_none(store: Store) -> None:
    store.rollback(0)


def append(store: Store) -> None:
    store.append_history({"event": "calibrated", "text": "e" * 900, "sequence": 2})


def write_buffer(store: Store) -> None:
    store.write_buffer(b"new samples" * 300)


def remember(store: Store) -> None:
    store.remember({"age_s": 3600.0})


def nothing(_: Store) -> None:
    pass


def used_once(store: Store) -> None:
    install_first(store)
    store.commit_factors(b"factors 1" * 150)
    store.append_history({"event": "calibrated", "text": "a" * 700, "sequence": 1})
    store.write_buffer(b"samples" * 300)
    store.remember({"age_s": 1.0})


def used_twice(store: Store) -> None:
    used_once(store)
    store.commit_factors(b"factors 2" * 170)


def used_and_replaced(store: Store) -> None:
    used_twice(store)
    install_second(store)


def back_to_the_first(store: Store) -> None:
    """The installed bundle is the one that was written first."""
    used_and_replaced(store)
    install_first(store)


def install_third(store: Store) -> None:
    with store.lock(create=True):
        store.install(THIRD, {"preset": "ideal"})


def used_with_full_history(store: Store) -> None:
    """So full that the next entry makes older ones leave."""
    used_once(store)
    if isinstance(store.backing, ImageBacking):
        log = store.backing.history_log()
        for number in range(100):
            segments = log.segments()
            newest = max(segments, key=lambda segment: segment.number)
            if newest.number == len(segments) and newest.end + 1000 > log.flash.slot_bytes:
                return
            store.append_history({"number": number, "text": "b" * 700})
        raise AssertionError("the log never fills")
    path = store.directory / history_module.HISTORY_NAME
    path.write_bytes(seal({"sequence": 1}) * history_module.MAX_ENTRIES)


def used_with_full_state(store: Store) -> None:
    """So full that the next state begins a new segment of an image; without effect in files."""
    used_twice(store)
    for number in range(200):
        if isinstance(store.backing, ImageBacking):
            log = store.backing.state_log()
            newest = max(log.segments(), key=lambda segment: segment.number)
            if newest.number > 5 and newest.end + log.flash.unit_bytes > log.flash.slot_bytes:
                return
        store.remember({"age_s": 2.0 + number})


def rolled_back(store: Store) -> None:
    used_twice(store)
    store.append_history({"event": "calibrated", "sequence": 2})
    store.rollback()


def of_format_1(store: Store) -> None:
    """As version 0.1 would have left it: the next change of the state is the upgrade."""
    used_twice(store)
    line = store.backing.read_state()
    assert line is not None
    content = unseal(line)
    assert content is not None
    del content["trust"]
    store.backing.write_state(seal({**content, "store_format": 1}))


CASES: list[tuple[Change, Change]] = [
    (nothing, install_first),
    (used_twice, install_second),
    (used_twice, install_first),
    (used_and_replaced, install_first),
    (back_to_the_first, install_third),
    (install_first, commit),
    (used_once, commit),
    (used_twice, commit),
    (used_and_replaced, commit),
    (used_twice, roll_back),
    (used_once, roll_back),
    (used_twice, roll_back_to_none),
    (install_first, append),
    (used_twice, append),
    (used_with_full_history, append),
    (install_first, write_buffer),
    (used_twice, write_buffer),
    (used_twice, remember),
    (used_with_full_state, remember),
    (used_with_full_state, install_second),
    (of_format_1, remember),
    (of_format_1, install_second),
    (of_format_1, commit),
]
NAMES = [f"{prepare.__name__}-{change.__name__}" for prepare, change in CASES]


@dataclass
class Scene:
    """A change to a store: its beginning as a folder, and what is seen before and after."""

    before: Path
    scratch: Path
    change: Change
    old: dict[str, Any]
    new: dict[str, Any]

    def cut(self, cut_at: int, *, torn: bool) -> PowerCutDisk | None:
        """The disk after a cut; None where the change was done before."""
        disk = PowerCutDisk(copy_tree(self.before, self.scratch / "live"), cut_at, torn=torn)
        try:
            self.change(Store(disk.root / "store", disk))
        except PowerLoss:
            return disk
        return None

    def restarted(self, disk: PowerCutDisk, seed: int | None) -> Store:
        """The store that is found when the power is back."""
        target = self.scratch / "restarted"
        shutil.rmtree(target, ignore_errors=True)
        disk.survivors(target, survival(seed))
        return Store(target / "store")


def survival(seed: int | None) -> Callable[[], bool]:
    if seed is None or seed < 0:
        return lambda: seed is not None
    generator = np.random.default_rng(seed)
    return lambda: bool(generator.integers(2))


def scene(tmp_path: Path, prepare: Change, change: Change, place: str = "directory") -> Scene:
    before = tmp_path / "before"
    before.mkdir()
    make_place(place, before / "store")
    prepare(Store(before / "store"))
    after = copy_tree(before, tmp_path / "after")
    change(Store(after / "store"))
    old, new = observed(Store(before / "store")), observed(Store(after / "store"))
    return Scene(before, tmp_path, change, old, new)


def cuts(scene: Scene, seeds: Sequence[int | None] = SEEDS) -> Iterator[tuple[str, Store]]:
    """What is found after every cut, clean and torn, with unsynced data lost, kept or mixed."""
    for cut_at in itertools.count():
        for torn in (False, True):
            disk = scene.cut(cut_at, torn=torn)
            if disk is None:
                return
            for seed in seeds:
                name = f"cut at operation {cut_at}, torn {torn}, seed {seed}"
                yield name, scene.restarted(disk, seed)


def check_every_cut(
    play: Scene, seeds: Sequence[int | None], record_property: Callable[[str, int], None]
) -> None:
    seen = []
    for name, store in cuts(play, seeds):
        found = observed(store)
        assert found in (play.old, play.new), name
        seen.append(found == play.new)
    record_property("counted: states after power cuts, each of them old or new", len(seen))
    assert len(seen) >= 4 * len(seeds), "fewer operations than any durable change takes"
    assert not seen[0]


@pytest.mark.parametrize(("prepare", "change"), CASES, ids=NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_every_cut_leaves_old_or_new(
    tmp_path: Path,
    place: str,
    prepare: Change,
    change: Change,
    record_property: Callable[[str, int], None],
) -> None:
    play = scene(tmp_path, prepare, change, place)
    check_every_cut(play, SEEDS if place == "directory" else FEW_SEEDS, record_property)


@pytest.mark.slow
@pytest.mark.parametrize(("prepare", "change"), CASES, ids=NAMES)
@pytest.mark.parametrize("place", PLACES[1:])
def test_every_cut_of_an_image_in_any_order_leaves_old_or_new(
    tmp_path: Path,
    place: str,
    prepare: Change,
    change: Change,
    record_property: Callable[[str, int], None],
) -> None:
    play = scene(tmp_path, prepare, change, place)
    check_every_cut(play, SEEDS[4:], record_property)


@pytest.mark.parametrize(("prepare", "change"), CASES, ids=NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_what_was_acknowledged_survives(
    tmp_path: Path, place: str, prepare: Change, change: Change
) -> None:
    play = scene(tmp_path, prepare, change, place)
    disk = PowerCutDisk(copy_tree(play.before, tmp_path / "live"))
    change(Store(disk.root / "store", disk))
    assert observed(play.restarted(disk, seed=None)) == play.new


@pytest.mark.parametrize("change", [install_second, commit, append, write_buffer, roll_back])
@pytest.mark.parametrize("place", PLACES)
def test_after_a_cut_the_same_can_be_done(tmp_path: Path, place: str, change: Change) -> None:
    play = scene(tmp_path, used_twice, change, place)
    for name, store in cuts(play, seeds=(None, 7)):
        if change is roll_back and store.load_factors() == play.new["factors"]:
            continue  # it was done before the cut, and doing it again would go further back
        change(store)
        found = observed(store)
        assert found["installed"] == play.new["installed"], name
        assert payload(found) == payload(play.new), name
        assert found["buffer"] == play.new["buffer"], name
        assert found["history"][-1:] == play.new["history"][-1:], name


@pytest.mark.parametrize("place", PLACES)
def test_no_sequence_number_is_used_twice(tmp_path: Path, place: str) -> None:
    play = scene(tmp_path, rolled_back, commit, place)
    for name, store in cuts(play, seeds=(None, 5)):
        # The slot of number 2 may be erased by now; the history knows it.
        assert store.commit_factors(b"x").sequence > 2, name


def test_an_uninstall_that_was_cut_can_be_finished(tmp_path: Path) -> None:
    play = scene(tmp_path, used_twice, nothing)
    play.change = Store.uninstall
    count = 0
    for name, store in cuts(play):
        count += 1
        present = {path.name for path in our_files(store.directory)}
        if "state.json" in present:
            assert observed(store)["installed"] == FIRST.id, name
        if any(other == "state.json" or other.startswith("bundle-") for other in present):
            store.uninstall()
            assert not store.directory.exists(), name
    assert count > 100


@pytest.mark.parametrize("place", PLACES[1:])
def test_an_uninstall_of_an_image_that_was_cut_can_be_finished(tmp_path: Path, place: str) -> None:
    play = scene(tmp_path, used_twice, nothing, place)
    play.change = Store.uninstall
    count = 0
    for name, store in cuts(play, FEW_SEEDS):
        count += 1
        found = observed(store)
        assert found["installed"] in (None, FIRST.id), name
        if found["installed"]:
            assert found["factors"] == play.old["factors"], name
        store.uninstall()
        assert observed(store) == {"installed": None, "history": ()}, name
        install_second(store)
        assert store.load_factors() is None
    assert count > 50


def payload(seen: dict[str, Any]) -> bytes | None:
    return seen["factors"].payload if seen["factors"] else None
