"""`fsck`: every damage is named, what can be repaired is, and nothing is ever made worse."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.cli.fsck import DAMAGED
from agent.cli.program import run
from agent.errors import AgentError, UntrustedStoreError
from agent.events import CALIBRATION, INSTALLATION, record
from agent.fsck.examine import examine, repair
from agent.fsck.findings import Level
from agent.store.disk import SYSTEM_DISK
from agent.store.image import open_image
from agent.store.slots import StoredFactors
from agent.store.store import Store
from agent.store.superblock import Region
from tests.fake_disks import FailingDisk, PowerCutDisk
from tests.fakes import PowerLoss, copy_tree
from tests.store_places import PLACES, SLOW_IMAGES, make_place
from tests.store_samples import CHIP, FIRST, SECOND


def told_store(path: Path) -> Store:
    """A store whose history tells what happened, as the commands write it."""
    store = Store(path)
    with store.lock(create=True):
        store.install(SECOND, {"name": "ideal"})
        record(store, INSTALLATION, {"bundle_id": SECOND.id, "chip": {"name": "ideal"}}, 1.0)
        store.commit_factors(b"of another installation")
        record(store, CALIBRATION, {"accepted": True, "sequence": 1}, 2.0)
        store.install(FIRST, CHIP)
        record(store, INSTALLATION, {"bundle_id": FIRST.id, "chip": CHIP}, 3.0)
        for payload in (b"one" * 100, b"two" * 100):
            done = store.commit_factors(payload)
            facts = {"accepted": True, "sequence": done.sequence, "age_s": 60.0}
            record(store, CALIBRATION, facts, 4.0)
        store.remember({"age_s": 60.0})
        store.write_buffer(b"samples" * 50)
    return store


def overwrite(path: Path, begin: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(data)


def begin_of(store: Store, region: Region, index: int) -> int:
    units = open_image(store.path, SYSTEM_DISK).superblock.units
    unit = next(unit for unit in units if (unit.region, unit.index) == (region, index))
    return unit.first_block * 4096


def is_directory(store: Store) -> bool:
    return store.path.is_dir()


def spoil_state(store: Store) -> None:
    if is_directory(store):
        overwrite(store.path / "state.json", 60, b"#")
        return
    for segment in store.backing.state_log().segments():
        for at in range(512, segment.end, 256):
            overwrite(store.path, begin_of(store, Region.STATE, segment.index) + at, bytes(40))
        overwrite(store.path, begin_of(store, Region.STATE, segment.index) + 256, bytes(40))


def spoil_bundle(store: Store) -> None:
    if is_directory(store):
        overwrite(store.path / store.state().bundle_file, 900, b"#" * 9)
        return
    for slot in store.backing.bundles().slots():
        if slot.header is not None and slot.header.bundle_id == FIRST.id:
            begin = begin_of(store, Region.BUNDLE, slot.index)
            overwrite(store.path, begin + 900, bytes(9))


def newest_slot(store: Store) -> int:
    return max(store.factor_slots().slots(), key=lambda slot: slot.sequence).index


def spoil_factors(store: Store) -> None:
    index = newest_slot(store)
    if is_directory(store):
        overwrite(store.path / f"factors.{index}", 300, b"\0")
    else:
        overwrite(store.path, begin_of(store, Region.FACTORS, index) + 300, b"\0")


def spoil_buffer(store: Store) -> None:
    if is_directory(store):
        overwrite(store.path / "buffer.bin", 100, b"\0")
        return
    slots = store.backing.samples().slots()
    newest = max(slots, key=lambda slot: slot.sequence)
    overwrite(store.path, begin_of(store, Region.SAMPLES, newest.index) + 300, b"\0")


def spoil_history(store: Store) -> None:
    if is_directory(store):
        with (store.path / "history.jsonl").open("ab") as file:
            file.write(b'{"crc32":"torn')
        return
    overwrite(store.path, begin_of(store, Region.HISTORY, 0) + 512 + 40, b"\0")


def spoil_place(store: Store) -> None:
    if is_directory(store):
        (store.path / ".buffer.bin.tmp").write_bytes(b"left over")
        (store.path / f"bundle-{SECOND.id[:12]}.npp").write_bytes(SECOND.data)
    else:
        overwrite(store.path, 4096 + 72, b"#")


@dataclass(frozen=True)
class Damage:
    """A damage, the part it is in, and whether `--repair` mends it."""

    spoil: Callable[[Store], None]
    part: dict[str, str]
    is_damage: bool = True
    mended: bool = True


DAMAGES = {
    "state": Damage(spoil_state, {"all": "state"}),
    "factors": Damage(spoil_factors, {"all": "factors"}),
    "buffer": Damage(spoil_buffer, {"all": "buffer"}),
    "history": Damage(spoil_history, {"all": "history"}, is_damage=False),
    "bundle": Damage(spoil_bundle, {"all": "bundle"}, mended=False),
    "place": Damage(spoil_place, {"directory": "leftovers", "all": "superblock"}),
}


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, place: str) -> Store:
    return told_store(make_place(place, tmp_path / "place"))


def test_a_store_in_order_is_sound_and_a_repair_writes_nothing(store: Store) -> None:
    found = examine(store)
    assert [one for one in found if one.level == Level.DAMAGED] == []
    assert any("factors 3 run; back to: 2, 0" in one.text for one in found)
    before = content(store.path)
    with store.lock(check=False):
        assert repair(store).repaired == ()
    assert content(store.path) == before


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: file.read_bytes() for file in files}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_repaired_without_losing_factors(
    store: Store, place: str, name: str
) -> None:
    damage = DAMAGES[name]
    damage.spoil(store)
    part = damage.part.get(place, damage.part["all"])
    found = [one for one in examine(store) if one.part == part and one.level != Level.SOUND]
    assert found, examine(store)
    with store.lock(check=False):
        after = repair(store)
    assert after.is_sound == damage.mended, after
    assert bool(after.repaired) == (
        damage.mended and (name, is_directory(store)) != ("history", False)
    ), after
    kept = 2 if name == "factors" else 3
    factors = store.load_factors()
    assert factors is not None
    assert factors.sequence == kept
    assert store.state().chip == CHIP
    assert store.state().remembered == {"age_s": 60.0}
    if damage.mended:
        assert store.bundle().id == FIRST.id
        with store.lock():
            assert store.commit_factors(b"new").sequence == 4, "no number is used twice"


def test_a_rebuilt_state_does_not_bring_factors_of_another_installation_back(
    store: Store,
) -> None:
    with store.lock():
        store.install(FIRST, {"name": "another chip"})
        facts = {"bundle_id": FIRST.id, "chip": {"name": "another chip"}}
        record(store, INSTALLATION, facts, 5.0)
    spoil_state(store)
    with store.lock(check=False):
        assert repair(store).is_sound
    assert store.state().chip == {"name": "another chip"}
    assert store.load_factors() is None
    with store.lock():
        done = store.commit_factors(b"of the other chip")
        record(store, CALIBRATION, {"accepted": True, "sequence": done.sequence}, 6.0)
    spoil_state(store)
    with store.lock(check=False):
        assert repair(store).is_sound
    assert store.factor_slots().available() == [done.sequence]


def test_a_damaged_bundle_is_restored_from_its_file(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_bundle(store)
    where = ("--store", str(store.path))
    assert run(["fsck", "--repair", *where]) == DAMAGED
    assert "--bundle FILE.npp" in capsys.readouterr().out
    (tmp_path / "second.npp").write_bytes(SECOND.data)
    (tmp_path / "first.npp").write_bytes(FIRST.data)
    assert run(["fsck", "--repair", "--bundle", str(tmp_path / "second.npp"), *where]) == 1
    assert "give the file that was installed" in capsys.readouterr().err
    assert run(["fsck", "--bundle", str(tmp_path / "first.npp"), *where]) == 2
    capsys.readouterr()
    assert run(["fsck", "--repair", "--bundle", str(tmp_path / "first.npp"), *where, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["repaired"] == ["bundle: restored from first.npp"]
    assert document["sound"] is True
    assert store.bundle().id == FIRST.id
    assert store.load_factors() == StoredFactors(3, b"two" * 100)


def test_a_state_that_no_history_tells_of_is_left_to_the_user(tmp_path: Path) -> None:
    store = told_store(tmp_path / "place")
    spoil_state(store)
    (store.path / "history.jsonl").unlink()
    with store.lock(check=False):
        after = repair(store)
    assert not after.is_sound
    assert "install again" in next(one.text for one in after.findings if one.part == "state")


def test_a_giant_in_place_of_the_history_is_set_aside(tmp_path: Path) -> None:
    store = told_store(tmp_path / "place")
    with (store.path / "history.jsonl").open("wb") as file:
        file.truncate(2**40)
    with store.lock(check=False):
        assert repair(store).is_sound
    assert (store.path / "history.jsonl.damaged").stat().st_size == 2**40
    assert store.load_factors() == StoredFactors(3, b"two" * 100)


def test_what_every_user_can_write_is_refused_until_it_is_closed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [store.path, *(store.path.iterdir() if is_directory(store) else [])]
    for path in paths:
        path.chmod(path.stat().st_mode | 0o002)
        for use in (store.state, store.load_factors, store.bundle, store.rollback):
            with pytest.raises(UntrustedStoreError, match=f"chmod o-w {path}"):
                use()
        assert run(["status", "--store", str(store.path)]) == 1
        assert "cannot be trusted" in capsys.readouterr().err
        assert run(["fsck", "--store", str(store.path)]) == DAMAGED
        assert run(["fsck", "--repair", "--store", str(store.path)]) == 0
        assert store.load_factors() == StoredFactors(3, b"two" * 100)
        assert not path.stat().st_mode & 0o002


@pytest.mark.parametrize("name", [name for name in DAMAGES if DAMAGES[name].mended])
def test_a_power_cut_during_a_repair_makes_nothing_worse(
    tmp_path: Path, place: str, name: str, record_property: Any
) -> None:
    (tmp_path / "before").mkdir()
    store = told_store(make_place(place, tmp_path / "before" / "store"))
    DAMAGES[name].spoil(store)
    old = what_works(store)
    cuts = 0
    for torn, cut_at in cut_points():
        disk = PowerCutDisk(copy_tree(tmp_path / "before", tmp_path / "live"), cut_at, torn=torn)
        try:
            repair(Store(disk.root / "store", disk))
        except PowerLoss:
            for survival in (lambda: False, lambda: True, alternating()):
                target = tmp_path / "restarted"
                shutil.rmtree(target, ignore_errors=True)
                disk.survivors(target, survival)
                restarted = Store(target / "store")
                found = what_works(restarted)
                assert all(found[key] == value for key, value in old.items() if value), cut_at
                cuts += 1
                assert repair(restarted).is_sound, "the repair can be finished"
        else:
            cut_points.advance()
            if torn:
                break
    record_property("counted: states after power cuts during a repair, none worse", cuts)


class CutPoints:
    """Every cut point, clean, then torn; told when the last one was passed."""

    def __call__(self) -> Any:
        for torn in (False, True):
            self.passed = False
            for cut_at in itertools.count():
                yield torn, cut_at
                if self.passed:
                    break

    def advance(self) -> None:
        self.passed = True


cut_points = CutPoints()


def alternating() -> Callable[[], bool]:
    turns = itertools.cycle((True, False))
    return lambda: next(turns)


def what_works(store: Store) -> dict[str, Any]:
    """What can be used; None where it cannot."""
    uses: dict[str, Callable[[], Any]] = {
        "factors": store.load_factors,
        "bundle": lambda: store.bundle().id,
        "chip": lambda: store.state().chip,
        "buffer": lambda: store.read_buffer().payload,
        "history": lambda: [
            entry for entry in store.read_history().entries if entry.get("event") != "repair"
        ],
    }
    found: dict[str, Any] = {}
    for name, use in uses.items():
        try:
            found[name] = use()
        except AgentError:
            found[name] = None
    return found


@pytest.mark.parametrize("number", [5, 28], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("name", [name for name in DAMAGES if DAMAGES[name].mended])
@pytest.mark.parametrize("kind", SLOW_IMAGES)
def test_a_disk_that_fails_during_a_repair_makes_nothing_worse(
    tmp_path: Path, kind: str, name: str, number: int
) -> None:
    (tmp_path / "before").mkdir()
    store = told_store(make_place(kind, tmp_path / "before" / "store"))
    DAMAGES[name].spoil(store)
    old = what_works(store)
    for fail_at in itertools.count():
        live = copy_tree(tmp_path / "before", tmp_path / "live") / "store"
        disk = FailingDisk(fail_at, number)
        try:
            repair(Store(live, disk))
        except AgentError as error:
            assert "\n" not in str(error)  # noqa: PT017 - every failure is looked at
        found = what_works(Store(live))
        assert all(found[key] == value for key, value in old.items() if value), fail_at
        if not disk.failures:
            break


def test_what_is_no_store_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fsck", "--store", str(tmp_path / "absent")]) == 1
    assert "there is no store in" in capsys.readouterr().err
    (tmp_path / "state.json").write_text("{}")
    assert run(["fsck", "--store", str(tmp_path)]) == 1
    assert "was not written by npp-agent" in capsys.readouterr().err
    (tmp_path / "file").write_text("notes")
    assert run(["fsck", "--store", str(tmp_path / "file"), "--repair"]) == 1
    assert "holds no store" in capsys.readouterr().err
