"""The demo: the committed bundle, the whole story on one chip, and its picture."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli.demo_story import story
from agent.errors import BundleError, InputError
from agent.runtimes.cim import CimRuntime
from agent.store.bundle import bundle_bytes, open_bundle
from agent.store.package import read_package
from agent.store.status import status_of
from agent.store.store import Store
from agent.workstation.chart import LayerBars, png_chart, text_chart
from agent.workstation.demo import CHIP, CHIP_SEED, SEEDS_TRIED, run_demo
from agent.workstation.demo_bundle import DEMO_BUNDLE, read_held_out
from calib.factors import no_factors
from calib.graph.executor import run
from calib.importers import load_model
from device_models.array import Chip, State
from device_models.errors import DeviceModelError
from device_models.presets import preset

ROOT = Path(__file__).resolve().parents[1]
PNG = b"\x89PNG\r\n\x1a\n"

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"matplotlib", "onnx", "sklearn", "flatbuffers", "ai_edge_litert"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from agent.cli.program import run
sys.exit(run(sys.argv[1:]))
"""


def demo(folder: Path, *arguments: str, blocked: bool = False) -> subprocess.CompletedProcess[str]:
    """`npp-agent demo` in a process and a folder of its own."""
    program = ["-c", BLOCKED] if blocked else ["-m", "agent.cli"]
    return subprocess.run(
        [sys.executable, *program, "demo", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NPP_STORE": str(folder / "of-the-user")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The story's figures, and the folder where it was told, with a store."""
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--json", "--store", "store")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout), folder


def test_the_bundle_is_small_and_whole() -> None:
    assert DEMO_BUNDLE.stat().st_size <= 2**20
    bundle = open_bundle(DEMO_BUNDLE)
    package = read_package(bundle)
    held_out = read_held_out(bundle, package.network.graph.input.shape[1:])
    assert len(held_out.labels) >= 360
    assert sorted(set(held_out.labels.tolist())) == list(range(10))
    assert held_out.inputs.min() == 0
    assert held_out.inputs.max() == 1


def test_the_bundle_names_the_source_of_its_images() -> None:
    source = json.dumps(open_bundle(DEMO_BUNDLE).document["attribution"])
    for part in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0", "drawn at random"):
        assert part in source


def test_no_held_out_digit_is_a_reference() -> None:
    bundle = open_bundle(DEMO_BUNDLE)
    package = read_package(bundle)
    references = package.network.references
    known = {references.block(np.array([i])).inputs.tobytes() for i in range(references.count)}
    held_out = read_held_out(bundle, package.network.graph.input.shape[1:])
    assert not known & {one[None].tobytes() for one in held_out.inputs}


def test_the_float_network_reads_held_out_digits() -> None:
    bundle = open_bundle(DEMO_BUNDLE)
    network = read_package(bundle).network
    graph = network.float_graph
    assert graph is not None
    held_out = read_held_out(bundle, graph.input.shape[1:])
    answers = run(graph, held_out.inputs)[graph.output]
    assert (answers.argmax(axis=1) == held_out.labels).mean() >= 0.98


def test_the_digits_are_those_of_the_source() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    known = {
        (image.astype(np.uint8).tobytes(), int(label))
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    bundle = open_bundle(DEMO_BUNDLE)
    held_out = read_held_out(bundle, (1, 8, 8))
    values = np.rint(held_out.inputs * 16).astype(np.uint8)
    found = {(v.tobytes(), int(n)) for v, n in zip(values, held_out.labels, strict=True)}
    assert found <= known


@pytest.mark.slow
def test_training_the_demo_again_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    for name in ("first", "again"):
        script = [ROOT / "tools" / "train_digits.py", "--epochs", "1"]
        files = ["--out", tmp_path / f"{name}.npp", "--onnx", tmp_path / f"{name}.onnx"]
        done = subprocess.run(
            [sys.executable, *script, *files], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "held-out digits" in done.stdout
    for suffix in ("npp", "onnx"):
        contents = [(tmp_path / f"{name}.{suffix}").read_bytes() for name in ("first", "again")]
        assert contents[0] == contents[1], suffix
    network = read_package(open_bundle(tmp_path / "first.npp")).network
    exported = load_model(tmp_path / "first.onnx")
    x = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    assert network.float_graph is not None
    wanted = run(network.float_graph, x)[network.float_graph.output]
    np.testing.assert_allclose(run(exported, x)[exported.output], wanted, atol=1e-2)  # float16


def test_a_chip_takes_the_accuracy_and_calibration_gives_it_back(
    played: tuple[dict[str, Any], Path],
) -> None:
    figures, _ = played
    assert figures["float"] >= 0.98
    assert figures["uncorrected"] <= figures["float"] - 0.2
    assert figures["corrected"] >= figures["float"] - 0.02
    assert figures["samples"] >= 360
    calibration = figures["calibration"]
    assert calibration["accepted"]
    assert len(calibration["selected"]) == calibration["samples_used"] == 32
    assert all("rank" in one["reason"] for one in calibration["selected"])
    assert all(row["error_after"] < row["error_before"] for row in calibration["layers"])
    assert figures["bytes_written"] > calibration["bytes_written"] > 0


def test_the_chip_is_as_bad_as_the_story_says(played: tuple[dict[str, Any], Path]) -> None:
    figures, _ = played
    assert figures["chip"] == {"name": CHIP, "seed": CHIP_SEED}
    bundle = open_bundle(DEMO_BUNDLE)
    network = read_package(bundle).network
    held_out = read_held_out(bundle, network.graph.input.shape[1:])
    right = []
    for seed in range(SEEDS_TRIED):
        chip, generator = Chip(preset(CHIP), seed), np.random.default_rng(0)
        runtime = CimRuntime(network, chip, State(), generator)
        answers = runtime.run(held_out.inputs, no_factors(network.layers), {}).answers
        right.append((answers.argmax(axis=1) == held_out.labels).mean())
    assert int(np.argmin(right)) == CHIP_SEED
    assert right[CHIP_SEED] == figures["uncorrected"]
    assert f"of the seeds 0 to {SEEDS_TRIED - 1} this one" in " ".join(story(figures).split())


def test_a_restart_finds_the_factors(played: tuple[dict[str, Any], Path]) -> None:
    figures, _ = played
    found = {"sequence": 1, "corrected": figures["corrected"]}
    assert figures["restart"] == found


def test_a_rollback_takes_them_away_and_the_end_is_good(
    played: tuple[dict[str, Any], Path],
) -> None:
    figures, folder = played
    back, again = figures["rollback"], figures["again"]
    assert back == {"from_sequence": 1, "sequence": 0, "accuracy": figures["uncorrected"]}
    assert again["accepted"]
    assert again["sequence"] == 2
    assert again["accuracy"] >= figures["float"] - 0.02
    status = status_of(Store(folder / "store"))
    assert status.sequence == 2
    assert status.state.chip == figures["chip"]


def test_the_picture_is_a_png(played: tuple[dict[str, Any], Path]) -> None:
    pytest.importorskip("matplotlib")
    figures, folder = played
    assert figures["chart"] == "npp-demo.png"
    content = (folder / "npp-demo.png").read_bytes()
    assert content.startswith(PNG)
    assert int.from_bytes(content[16:20]) > 1000  # pixels wide


def test_the_story_has_all_chapters_in_a_hundred_columns(
    played: tuple[dict[str, Any], Path],
) -> None:
    figures, _ = played
    text = story(figures)
    assert max(map(len, text.splitlines())) <= 100
    for part in ("1. A network", "2. A bad chip", "5. Restart", "6. Roll back", "CC BY 4.0"):
        assert part in text
    for share in ("float", "uncorrected", "corrected"):
        assert f"{100 * figures[share]:.1f} %" in text


def test_the_story_of_a_refusal_ends_after_the_verdict(
    played: tuple[dict[str, Any], Path],
) -> None:
    figures, _ = played
    calibration = {**figures["calibration"], "accepted": False, "reason": "it rises"}
    text = story(
        {**figures, "calibration": calibration, "restart": None, "rollback": None, "again": None}
    )
    assert "refused, it rises" in text
    assert "Restart" not in text


def test_without_the_extras_the_chart_is_text_and_nothing_is_left_behind(tmp_path: Path) -> None:
    done = demo(tmp_path, blocked=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "#####" in done.stdout
    assert "npp-agent[host]" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_second_demo_uses_the_same_store(
    played: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    figures, folder = played
    shutil.copytree(folder / "store", tmp_path / "store")
    again = run_demo(Store(tmp_path / "store"), chip_seed=3)
    assert "of the seeds" not in story({**again, "chart": None})
    assert again["chip"]["seed"] == 3
    assert again["restart"]["sequence"] > figures["again"]["sequence"]


def test_another_bundle_is_not_replaced(tmp_path: Path) -> None:
    bundle = open_bundle(DEMO_BUNDLE)
    arrays = {n.removesuffix(".npy"): bundle.array(n.removesuffix(".npy")) for n in bundle.parts}
    other = open_bundle(bundle_bytes({**bundle.document, "mine": 1}, arrays, {}))
    store = Store(tmp_path / "store")
    with store.lock(create=True):
        store.install(other, {"name": "ideal", "seed": 0})
    with pytest.raises(InputError, match=r"another bundle .* name an empty directory"):
        run_demo(store)
    assert store.state().bundle_id == other.id


def test_a_bundle_without_held_out_digits_is_refused(tmp_path: Path) -> None:
    bundle = open_bundle(DEMO_BUNDLE)
    names = [name.removesuffix(".npy") for name in bundle.parts]
    arrays = {name: bundle.array(name) for name in names if not name.startswith("held_out")}
    path = tmp_path / "plain.npp"
    path.write_bytes(bundle_bytes(bundle.document, arrays, {}))
    with pytest.raises(BundleError, match=r"plain\.npp holds no held-out samples"):
        run_demo(Store(tmp_path / "store"), bundle_file=path)


def test_an_unknown_chip_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DeviceModelError, match="mismatsch-10"):
        run_demo(Store(tmp_path / "store"), chip="mismatsch-10")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = demo(tmp_path, "--out", "nowhere/chart.png", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "nowhere/chart.png" in done.stderr


BARS = (LayerBars("a" * 60, 0.5, 0.05), LayerBars("$b$", 1.0, 0.0), LayerBars("c", np.inf, 0.1))


def test_a_text_chart_fits_and_is_to_scale() -> None:
    lines = text_chart(BARS).splitlines()
    assert max(map(len, lines)) <= 100
    counts = [line.count("#") for line in lines]
    assert counts[3] == max(counts) == 2 * counts[1]
    assert counts[4] == 0
    assert lines[5].split() == ["c", "before", "-"]


def test_a_picture_takes_any_name_and_figure() -> None:
    pytest.importorskip("matplotlib")
    content = png_chart(BARS, "costs $5", "and $6")
    assert content is not None
    assert content.startswith(PNG)
    assert content == png_chart(BARS, "costs $5", "and $6")
