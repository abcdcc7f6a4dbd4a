"""A real process on a real file system, killed at random moments; and file systems that go away."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.fsck.examine import examine
from agent.fsck.findings import is_sound
from tests.store_places import PLACES, make_place
from tests.store_samples import FIRST, SECOND, used_store

ROOT = Path(__file__).resolve().parents[1]
KILLS = 200


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_process_killed_at_random_moments_leaves_old_or_new(
    tmp_path: Path, place: str, record_property: Any
) -> None:
    store = used_store(make_place(place, tmp_path / "store"))
    chance, inside = random.Random(7), 0  # noqa: S311 - no secret
    factors, bundle = store.load_factors(), FIRST.id
    active = factors.payload.hex() if factors else "none"
    for number in range(KILLS):
        said = killed_worker(store.path, number, chance.uniform(0, 0.08))
        wanted, bundles, busy = expected(said, active, bundle)
        found, installed = store.load_factors(), store.state().bundle_id
        now = found.payload.hex() if found else "none"
        assert installed in bundles, (number, said[-2:])
        assert store.bundle().id == installed
        if "rollback" not in busy:
            assert now in wanted, (number, said[-2:], len(wanted))
        assert is_sound(examine(store)), number
        with store.lock():
            pass  # the lock died with its holder
        active, bundle, inside = now, installed, inside + bool(busy)
    record_property("counted: processes killed within a change of a store", inside)
    assert inside > KILLS // 2


def killed_worker(path: Path, seed: int, after_s: float) -> list[str]:
    """Start a worker, let it work for a while, kill it; returns the lines that it said."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.store_worker", str(path), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        worker.kill()
        said = worker.stdout.read().decode()
    return said[: said.rfind("\n") + 1].splitlines()  # a line may be cut by the kill, too


def expected(said: list[str], active: str, bundle: str) -> tuple[set[str], set[str], str]:
    """What may be found: factors, bundles, and what was being done when the kill came."""
    wanted, bundles, busy, pending = {active}, {bundle}, "", bundle
    for line in said:
        word, *rest = line.split()
        if word == "begin":
            busy = rest[0]
            if busy == "commit":
                wanted = {active, rest[1]}
            if busy == "install":
                wanted, pending = {active, "none"}, rest[1]
                bundles = {bundle, pending}
        else:
            active = active if rest[0] == "same" else rest[0]
            bundle = pending
            wanted, bundles, busy = {active}, {bundle}, ""
    return wanted, bundles, busy


MOUNTED = """
set -e
mount -t tmpfs -o size={size} none "$1"
cp -r "$2" "$1/store"
{then}
"""


def in_a_mount(tmp_path: Path, store: Path, then: str, size: str = "4m") -> str:
    """Run a script on a copy of the store in a file system of its own, where one may be made."""
    (tmp_path / "mount").mkdir()
    probe = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*probe, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount")
    script = MOUNTED.format(size=size, then=then)
    done = subprocess.run(
        [*probe, "sh", "-c", script, "sh", str(tmp_path / "mount"), str(store), sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


NPP = """py=$3; store=$1/store
npp() { "$py" -m agent.cli "$@" --store "$store" 2>&1 || echo "code $?"; }
"""


@pytest.mark.parametrize("place", PLACES)
def test_a_read_only_file_system_is_one_sentence_and_reading_goes_on(
    tmp_path: Path, place: str
) -> None:
    used_store(make_place(place, tmp_path / "store"))
    said = in_a_mount(
        tmp_path,
        tmp_path / "store",
        NPP + 'mount -o remount,ro "$1"\nnpp history\nnpp fsck\nnpp rollback\nnpp uninstall',
    )
    assert "calibrated" in said
    assert "factors 2 run; back to: 1, 0" in said
    assert said.count("read-only: remount it or use another directory\ncode 1") == 2


@pytest.mark.parametrize("place", PLACES)
def test_a_file_system_that_vanished_is_one_sentence_and_nothing_is_made_in_its_place(
    tmp_path: Path, place: str
) -> None:
    used_store(make_place(place, tmp_path / "store"))
    said = in_a_mount(
        tmp_path,
        tmp_path / "store",
        NPP + 'umount "$1"\nnpp status\nnpp rollback\nnpp fsck\nls -A "$1"',
    )
    assert said.count("code 1") == 3
    assert said.count("there is no store in") == 2
    assert said.count("no bundle is installed in") == 1
    assert said.endswith("code 1\n")


@pytest.mark.parametrize("place", PLACES)
def test_a_full_file_system_keeps_what_was_there(tmp_path: Path, place: str) -> None:
    store = used_store(make_place(place, tmp_path / "store"))
    program = (
        "import sys; from pathlib import Path; from agent.errors import StoreError\n"
        "from agent.store.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(40):\n"
        "    try:\n"
        "        store.commit_factors(bytes([n]) * 3000)\n"
        "        store.append_history({'n': n, 'text': 'x' * 900})\n"
        "    except StoreError as error:\n"
        "        print(error)\n"
        "    found = store.load_factors()\n"
        "    assert found.payload in (b'two', bytes([found.payload[0]]) * 3000)\n"
        "print('kept', found.sequence)\n"
    )
    (tmp_path / "program.py").write_text(program)
    said = in_a_mount(
        tmp_path,
        store.path,
        'dd if=/dev/zero of="$1/fill" bs=1k 2>/dev/null || true\n'
        f'"$3" {tmp_path}/program.py "$1/store"',
        size="256k",
    )
    assert "kept" in said
    # An image has its room from the beginning; a directory has none left.
    assert ("the disk is full" in said) == (place == "directory")
    assert SECOND.id not in said


def test_two_agents_on_one_image_take_turns(tmp_path: Path) -> None:
    store = used_store(make_place("image", tmp_path / "store"))
    command = [sys.executable, "-m", "agent.cli", "rollback", "--store", str(store.path)]
    with store.lock():
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "another npp-agent works on" in done.stderr
    assert store.factor_slots().available() == [2, 1]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert store.factor_slots().available() == [1]
