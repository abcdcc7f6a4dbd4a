"""Simulations on this machine: the same to the bit, interrupted, and robbed of their workers."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from agent.simulation.outputs import SUMMARY
from tests.agent_stores import npp_process
from tests.simulations import (
    Lot,
    ended,
    finished_chips,
    kill_a_worker,
    same,
    simulated,
    started,
    wait_until,
    workers_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulations")


@pytest.fixture(scope="module")
def lot(folder: Path) -> Lot:
    return Lot.made(folder)


@pytest.fixture(scope="module")
def whole(folder: Path, lot: Lot) -> Path:
    """What an undisturbed worker makes of it."""
    said = simulated(*lot.arguments, "--workers", 1, "--out", folder / "whole")
    assert (said.code, said.err) == (0, "")
    assert said.document["groups"][0]["chips"] == lot.chips
    return folder / "whole"


def test_two_workers_give_the_same_to_the_bit(folder: Path, lot: Lot, whole: Path) -> None:
    out = folder / "two"
    # However many threads NumPy may have, a worker's has one.
    threads = {"OPENBLAS_NUM_THREADS": "2"}
    said = simulated(*lot.arguments, "--workers", 2, "--out", out, **threads)
    assert said.code == 0
    assert same(out, whole)


def test_an_interrupted_run_keeps_what_is_finished_and_goes_on(
    folder: Path, lot: Lot, whole: Path
) -> None:
    out = folder / "interrupted"
    arguments = (*lot.arguments, "--workers", 2, "--out", out)
    process = started(*arguments)
    wait_until(lambda: len(finished_chips(out)) >= 2, process)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    said = ended(process)
    assert said.code == 130
    kept = finished_chips(out)
    assert 2 <= len(kept) < lot.chips
    assert (
        f"interrupted after {len(kept)} of {lot.chips} chips; they are kept in {out}"
        in said.sentence()
    )
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    assert not (out / SUMMARY).exists()
    # As if the power had gone while the next chip was written.
    with (out / "results.jsonl").open("a") as journal:
        journal.write('{"group": 0, "seed": 7, "ages": [{"ag')
    again = simulated(*arguments)
    assert again.code == 0
    assert f"{len(kept)} of {lot.chips} chips were finished before" in again.err
    assert finished_chips(out)[: len(kept)] == kept
    assert same(out, whole)


def test_a_killed_worker_is_replaced_and_its_chip_done_again(
    folder: Path, lot: Lot, whole: Path
) -> None:
    out = folder / "killed"
    process = started(*lot.arguments, "--workers", 2, "--out", out)
    wait_until(lambda: len(finished_chips(out)) >= 2, process)
    victim = kill_a_worker(process)
    said = ended(process)
    assert said.code == 0
    assert not Path(f"/proc/{victim}").exists()
    assert said.err.count("a worker was killed by SIGKILL while it had chip") == 1
    assert said.document["failed"] == []
    assert same(out, whole)


def test_a_chip_that_kills_its_worker_three_times_is_given_up_and_tried_by_the_next_run(
    folder: Path, lot: Lot, whole: Path
) -> None:
    out = folder / "deadly"
    arguments = (*lot.arguments, "--workers", 1, "--out", out)
    process = started(*arguments)
    wait_until(lambda: finished_chips(out), process)
    victims: frozenset[int] = frozenset()
    for _ in range(3):  # the second and the third while they still start
        victims |= {kill_a_worker(process, but=victims)}
    said = ended(process)
    assert said.code == 0
    (failed,) = said.document["failed"]
    assert failed["reason"] == "its worker was killed by SIGKILL, 3 times"
    assert said.document["groups"][0]["chips"] == lot.chips - 1
    assert f"chip {failed['seed']} is given up" in said.err
    assert failed["seed"] not in [chip["seed"] for chip in finished_chips(out)]
    assert simulated(*arguments).document["failed"] == []
    assert same(out, whole)


def test_the_memory_of_every_process_is_bounded(folder: Path, data_directory: Path) -> None:
    """ResNet-8 and all 2,000 images: under 300 MB each."""
    bundle = folder / "resnet8.npp"
    images = ("--data", data_directory / "cifar10.npz", "--key")
    model = str(data_directory / "mlperf-tiny" / "resnet8_float.tflite")
    samples = ("--samples", str(data_directory / "cifar10.npz"), "--key", "train")
    options = ("--scheme", "int4-tensor", "--references", "24", "--out", str(bundle))
    assert npp_process("pack", model, *samples, *options).code == 0
    fixed = ("--chip", "mismatch-10", "--recalibrate", "once", "--ages", "0,1", "--samples", 8)
    process = started(bundle, *images, "test", *fixed, "--chips", 2, "--workers", 2, "--json")
    peaks_kib = {}
    while process.poll() is None:
        for pid in (process.pid, *workers_of(process)):
            with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                peak = next(line for line in lines if line.startswith("VmHWM"))
                peaks_kib[pid] = int(peak.split()[1])
        time.sleep(0.05)
    assert ended(process).code == 0
    assert len(peaks_kib) == 3
    assert 30e6 < 1024 * min(peaks_kib.values()) <= 1024 * max(peaks_kib.values()) < 300e6


def test_workers_that_all_die_at_once_end_the_run(lot: Lot) -> None:
    process = started(*lot.arguments, "--workers", 1)
    victims: frozenset[int] = frozenset()
    for _ in range(3):
        victims |= {kill_a_worker(process, but=victims)}
    said = ended(process)
    assert said.code == 1
    assert said.out == ""
    assert "each worker was killed by SIGKILL before it finished a single chip" in said.err
