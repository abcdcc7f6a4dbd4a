"""Bad input: one sentence on stderr, nothing on stdout, the right exit code, nothing lost."""

from __future__ import annotations

import errno
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.buffer import SampleBuffer
from agent.cli.failures import explain
from agent.loop import CalibrationRequest
from agent.session import open_session
from agent.store.sealed import seal
from agent.store.store import Store
from calib.factor_codes import encode_factors
from calib.factors import no_factors
from calib.importers.onnx_export import write_onnx
from tests.agent_stores import GRAPH, ROOT, bundle, data, labelled, npp, npp_process
from tests.fake_disks import FailingDisk
from tests.fakes import NEVER, copy_tree
from tests.store_samples import bundle_named

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, data, and a bundle of both."""
    folder = tmp_path_factory.mktemp("files")
    write_onnx(GRAPH, folder / "model.onnx")
    x, y = labelled(64, 1)
    np.savez(folder / "data.npz", x=x, y=y)
    bundle(folder / "small.npp")
    return folder


@pytest.fixture
def store(files: Path, tmp_path: Path, capsys: Capture) -> Path:
    """A store with factors that a better calibration would replace."""
    place = tmp_path / "store"
    npp(capsys, "install", files / "small.npp", "--store", place, "--chip", "mismatch-30")
    opened = Store(place)
    network = open_session(opened).loop.network
    poor = encode_factors(no_factors(network.layers), network.layers)
    with opened.lock():
        assert opened.commit_factors(poor).sequence == 1
    return place


def content(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def pack(capsys: Capture, model: Path, samples: Path, *options: object) -> str:
    """The sentence of a `pack` that fails, which leaves no bundle behind."""
    out = samples.parent / "out.npp"
    said = npp(capsys, "pack", model, "--samples", samples, "--out", out, "--json", *options)
    assert said.code == 1
    assert not out.exists()
    return said.sentence()


def test_packing_a_model_file(files: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out.npp"
    options = ("--held-back", 16, "--references", 48, "--scheme", "nf4", "--json")
    arguments = ("pack", files / "model.onnx", "--samples", files / "data.npz", "--out", out)
    said = npp(capsys, *arguments, *options)
    assert said.code == 0
    assert said.document["bytes"] == out.stat().st_size
    assert (said.document["references"], said.document["held_back"]) == (48, 16)
    assert npp(capsys, "inspect", out, "--json").document["model"] == "model"
    few = npp(capsys, *arguments, "--json").document
    assert (few["references"], few["held_back"]) == (48, 16)  # a quarter and three quarters of 64


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda whole: whole[:100], lambda _: b"PK\x03\x04", lambda _: b"\x00" * 500],
)
def test_models_that_cannot_be_read(
    damage: Callable[[bytes], bytes], files: Path, tmp_path: Path, capsys: Capture
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(damage((files / "model.onnx").read_bytes()))
    assert "model.onnx" in pack(capsys, model, data(tmp_path / "x.npz"))
    assert "nothing.onnx" in pack(capsys, tmp_path / "nothing.onnx", tmp_path / "x.npz")


X, Y = labelled(24, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X[:, :, :4], "y": Y}, "takes samples of shape [n, 2, 8, 8], not [24, 2, 4, 8]"),
        ({"x": X.astype(str)}, "which is no number"),
        ({"x": np.where(X > 2, np.nan, X)}, "NaN"),
        ({"x": X[:7]}, "7 samples are too few: at least 8"),
        ({"x": X, "y": Y + 3}, "is out of range: the network has 5 outputs"),
        ({"x": X, "y": Y[:-1]}, "there are 24 samples, but labels of shape [23]"),
        ({"x": X, "y": Y + 0.25}, "not whole numbers"),
        ({"samples": X}, "no array 'x'"),
    ],
)
def test_samples_that_do_not_fit(
    arrays: dict[str, Any], said: str, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert said in pack(capsys, files / "model.onnx", tmp_path / "x.npz")


def test_a_budget_too_small_and_a_place_that_is_none(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    samples = data(tmp_path / "x.npz")
    assert "raise --budget-kib" in pack(capsys, files / "model.onnx", samples, "--budget-kib", 1)
    arguments = ("pack", files / "model.onnx", "--samples", samples, "--out")
    said = npp(capsys, *arguments, tmp_path / "no" / "where.npp")
    assert said.code == 1
    assert "where.npp" in said.sentence()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(-1, 7))
def test_no_damage_to_a_bundle_gets_into_a_store(
    place: float, bit: int, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    whole = (files / "small.npp").read_bytes()
    at = int(place * len(whole))
    damaged = bytearray(whole[:at] if bit < 0 else whole)
    if bit >= 0:
        damaged[at] ^= 1 << bit
    path = tmp_path / "damaged.npp"
    path.write_bytes(bytes(damaged))
    said = npp(capsys, "install", path, "--store", tmp_path / "store", "--json")
    if said.code:
        assert said.code == 1
        assert "damaged.npp" in said.sentence()
        assert not (tmp_path / "store").exists()
    else:  # a bit that nobody reads, such as a time in the archive
        npp(capsys, "uninstall", "--store", tmp_path / "store")


@pytest.mark.parametrize("command", ["inspect", "install"])
def test_files_that_are_no_bundle(
    command: str, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    other = tmp_path / "other.npp"
    other.write_bytes(bundle_named("of another kind").data)
    store = ("--store", tmp_path / "store") if command == "install" else ()
    for path, said in (
        (tmp_path / "nothing.npp", "there is no bundle"),
        (files / "model.onnx", "is no bundle"),
        (files / "data.npz", "no manifest.json"),
        (other, "package of format None"),
    ):
        found = npp(capsys, command, path, *store)
        assert found.code == 1
        assert said in found.sentence()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("chip", "said"),
    [
        ("mismatch-lots", "no device preset"),
        ("nowhere.toml", "cannot read the device description"),
        ('kind = "mismatch', "no valid TOML"),
        ('kind = "mismatch"\n', "missing 'percent'"),
        ('kind = "mismatch"\npercent = 10.0\nwhat = 1\n', "unknown 'what'"),
        ('kind = "unknown"\n', "'unknown'"),
        ('kind = "mismatch"\npercent = nan\n', "percent"),
    ],
)
def test_chips_that_are_none(
    chip: str, said: str, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    if "=" in chip:
        (tmp_path / "device.toml").write_text(chip)
        chip = str(tmp_path / "device.toml")
    store = tmp_path / "store"
    found = npp(capsys, "install", files / "small.npp", "--store", store, "--chip", chip)
    assert found.code == 1
    assert said in found.sentence()
    assert not store.exists()


@pytest.mark.parametrize(
    "command", [("measure",), ("calibrate",), ("calibrate", "--dry-run"), ("evaluate",)]
)
def test_a_store_without_a_bundle(
    command: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    if command == ("evaluate",):
        command = ("evaluate", "--data", str(data(tmp_path / "x.npz")))
    said = npp(capsys, *command, "--store", tmp_path / "nowhere", "--json")
    assert said.code == 1
    assert "install" in said.sentence()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("command", ["measure", "calibrate"])
def test_a_store_of_another_version_or_damaged(command: str, store: Path, capsys: Capture) -> None:
    state = (store / "state.json").read_bytes()
    bundle_file = next(store.glob("bundle-*.npp"))
    whole = bundle_file.read_bytes()

    def sentence() -> str:
        said = npp(capsys, command, "--store", store, "--json")
        assert said.code == 1
        return said.sentence()

    other = json.loads(state)["content"] | {"store_format": 99}
    (store / "state.json").write_bytes(seal(other))
    assert "has format 99" in sentence()
    (store / "state.json").write_bytes(state[:-20])
    assert "is damaged" in sentence()
    (store / "state.json").write_bytes(state)
    bundle_file.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in sentence()
    bundle_file.write_bytes(whole)
    assert npp(capsys, "measure", "--store", store).code == 0


def test_damaged_slots_run_older_factors_or_none_and_a_calibration_mends_them(
    store: Path, capsys: Capture
) -> None:
    slot = store / "factors.0"
    slot.write_bytes(slot.read_bytes()[:-5])
    measured = npp(capsys, "measure", "--store", store, "--json")
    assert measured.code == 0
    assert measured.document["drift"]["state"] == "unknown"
    assert npp(capsys, "calibrate", "--store", store, "--json").document["sequence"] == 2


def test_factors_of_another_network_are_left_alone(store: Path, capsys: Capture) -> None:
    opened = Store(store)
    with opened.lock():
        opened.commit_factors(b"something else")
    said = npp(capsys, "measure", "--store", store, "--json")
    assert said.code == 0
    assert "factors 2 cannot be used, none run" in said.err
    assert npp(capsys, "calibrate", "--store", store, "--json").document["sequence"] == 3


def test_a_damaged_buffer_starts_empty(store: Path, capsys: Capture) -> None:
    with Store(store).lock():
        Store(store).write_buffer(SampleBuffer().to_bytes())
    place = store / "buffer.bin"
    place.write_bytes(place.read_bytes()[:-1])
    said = npp(capsys, "measure", "--store", store, "--json")
    assert said.code == 0
    assert said.err.count("\n") == 1
    assert "the sample buffer starts empty" in said.err


@pytest.mark.parametrize("command", ["calibrate", "install", "measure", "evaluate"])
def test_while_another_holds_the_store(
    command: str, store: Path, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    options: dict[str, tuple[object, ...]] = {
        "calibrate": (),
        "install": (files / "small.npp",),
        "measure": ("--age-s", 5),  # it would have to remember that
        "evaluate": ("--age-s", 5, "--data", data(tmp_path / "x.npz")),
    }
    before = content(store)
    with Store(store).lock():
        said = npp(capsys, command, "--store", store, "--json", *options[command])
    assert said.code == 4
    assert "another npp-agent works" in said.sentence()
    assert content(store) == before
    with Store(store).lock():  # looking is always allowed
        assert npp(capsys, "measure", "--store", store).code == 0
        assert npp(capsys, "calibrate", "--store", store, "--dry-run").code in {0, 3}


def test_two_processes_that_calibrate_one_store_lose_nothing(store: Path) -> None:
    command = [sys.executable, "-m", "agent.cli", "calibrate", "--store", str(store), "--json"]
    started = [
        subprocess.Popen(
            [*command, "--select", "random"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [(*process.communicate(), process.returncode) for process in started]
    assert {code for _, _, code in said} <= {0, 3, 4}
    committed = [json.loads(out)["sequence"] for out, _, code in said if code == 0]
    assert len(set(committed)) == len(committed)
    assert all(out == "" and "another npp-agent" in err for out, err, code in said if code == 4)
    factors = Store(store).load_factors()
    assert factors is not None
    assert factors.sequence == max([1, *committed])


def test_a_full_disk_at_any_moment_of_a_calibration_is_one_sentence(
    store: Path, tmp_path: Path
) -> None:
    before = Store(store).load_factors()
    failed = 0
    for fail_at in range(200):
        place = copy_tree(store, tmp_path / "copy")
        disk = FailingDisk(NEVER, errno.ENOSPC, for_good=True)
        session = open_session(Store(place, disk))
        disk.fail_at = disk.operations + fail_at
        try:
            calibration = session.calibrate(CalibrationRequest(select="all"))
        except Exception as error:  # noqa: BLE001 -- whatever comes must be explained
            failed += 1
            code, sentence = explain(error)
            assert code == 1
            assert "defect" not in sentence, sentence
            found = Store(place).load_factors()
            # Only the very last sync comes after the new factors are whole.
            assert found is not None
            assert found == before or found.sequence == 2
            continue
        assert calibration.commit is not None
        if not session.record(calibration).warnings:
            break  # the disk had room to the end
    assert failed > 5
    assert fail_at > failed  # some failures came after the commit, and were warnings


def test_a_disk_without_room_for_the_factors(store: Path) -> None:
    """A limit on the size of files stands for the full disk, in a process of its own."""
    before = content(store)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "calibrate", "--store", store, "--json"],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("npp-agent: ")
    assert "defect" not in done.stderr
    assert Store(store).load_factors() is not None
    assert before["state.json"] == content(store)["state.json"]


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc here")
def test_a_place_that_cannot_be_written(files: Path, capsys: Capture) -> None:
    said = npp(capsys, "install", files / "small.npp", "--store", "/proc/npp-agent")
    assert said.code == 1
    assert "/proc/npp-agent" in said.sentence()


@pytest.mark.parametrize(
    "arguments",
    [
        ("pack",),
        ("pack", "m.onnx", "--samples", "x.npz", "--out", "o.npp", "--scheme", "int3"),
        ("pack", "m.onnx", "--samples", "x.npz", "--out", "o.npp", "--activation-bits", "3"),
        ("install",),
        ("install", "x.npp", "--chip-seed", "-1"),
        ("measure", "--age-s", "nan"),
        ("calibrate", "--samples", "0"),
        ("calibrate", "--select", "wisely"),
        ("calibrate", "--temperature-c", "-300"),
        ("evaluate",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], capsys: Capture) -> None:
    said = npp(capsys, *arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Error:" in said.err


def test_data_for_another_network_and_another_float_model(
    store: Path, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, x=np.zeros((3, 2, 9, 9), np.float32))
    said = npp(capsys, "evaluate", "--store", store, "--data", wrong, "--json")
    assert said.code == 1
    assert "takes samples of shape [n, 2, 8, 8]" in said.sentence()
    np.savez(wrong, x=X, y=Y + 4)
    assert "out of range" in npp(capsys, "evaluate", "--store", store, "--data", wrong).sentence()
    with_float = ("evaluate", "--store", store, "--data", data(tmp_path / "x.npz"), "--json")
    said = npp(capsys, *with_float, "--float", files / "model.onnx")
    assert said.document["float"] == 1.0
    assert npp(capsys, *with_float, "--float", files / "data.npz").code == 1


def test_no_traceback_reaches_a_user_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.npp").write_bytes(b"PK\x03\x04 and no more")
    for arguments in (
        ("inspect", tmp_path / "x.npp"),
        ("install", tmp_path / "x.npp", "--store", tmp_path / "store"),
        ("pack", tmp_path / "x.npp", "--samples", tmp_path / "x.npp", "--out", tmp_path / "y.npp"),
    ):
        assert npp_process(*arguments, "--json").sentence()
