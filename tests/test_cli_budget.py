"""Budgets and refusal from the command line: `pack`, `inspect`, `calibrate`."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from agent.store.package import Package, package_bytes
from agent.store.store import Store
from calib.importers.onnx_export import write_onnx
from calib.prepare import PackOptions, prepare
from tests.agent_stores import GRAPH, Said, bundle, data, npp
from tests.small_networks import chain, on_int8_grid, samples_for

Capture = pytest.CaptureFixture[str]


def installed(capsys: Capture, packed: Path, store: Path, chip: str = "mismatch-30") -> Path:
    chip_options = ("--chip", chip, "--chip-seed", 5)
    assert npp(capsys, "install", packed, "--store", store, *chip_options).code == 0
    return store


@pytest.fixture
def store(tmp_path: Path, capsys: Capture) -> Path:
    return installed(capsys, bundle(tmp_path / "small.npp"), tmp_path / "store")


def calibrated(capsys: Capture, store: Path, *options: object) -> Said:
    return npp(capsys, "calibrate", "--store", store, "--json", *options)


def test_without_a_budget_the_bundles_rank_is_the_limit(store: Path, capsys: Capture) -> None:
    budget = calibrated(capsys, store).document["budget"]
    assert 0 < budget["bytes"]["used"] <= budget["bytes"]["allowed"]
    assert budget["mac_share"]["allowed"] is None
    entry = Store(store).read_history().entries[-1]
    assert entry["budget"] == budget


@pytest.mark.parametrize(("size", "share"), [(900, None), (None, 0.3), (900, 0.3)])
def test_a_budget_is_kept_and_what_is_used_is_told(
    size: int | None, share: float | None, store: Path, capsys: Capture
) -> None:
    options = [] if size is None else ["--budget-bytes", str(size)]
    options += [] if share is None else ["--budget-mac-share", str(share)]
    said = calibrated(capsys, store, *options)
    assert said.code == 0
    budget = said.document["budget"]
    stored = Store(store).load_factors()
    assert stored is not None
    assert budget["bytes"]["used"] == len(stored.payload)
    assert budget["mac_share"]["used"] == said.document["surrogate_mac_share"]
    if size is not None:
        assert budget["bytes"]["used"] <= budget["bytes"]["allowed"] == size
    if share is not None:
        assert budget["mac_share"]["allowed"] == share
        assert 0.5 * share < budget["mac_share"]["used"] <= share
    assert any(layer["rank"] for layer in said.document["layers"])


def test_a_packed_budget_holds_until_a_calibration_is_told_otherwise(
    tmp_path: Path, capsys: Capture
) -> None:
    packed = bundle(tmp_path / "b.npp", surrogate_bytes=1000, surrogate_mac_share=0.25)
    seen = npp(capsys, "inspect", packed, "--json").document
    assert seen["budget"] == {"rank": None, "bytes": 1000, "mac_share": 0.25, "slowdown": None}
    assert seen["surrogate_bytes"] == 1000
    assert seen["surrogate_mac_share"] <= 0.25
    text = npp(capsys, "inspect", packed).out
    assert "1000 B, 25.0% of the multiply-accumulates" in text
    store = installed(capsys, packed, tmp_path / "store")
    for options, size, share in (
        ((), 1000, 0.25),
        (("--budget-mac-share", 0.4), 1000, 0.4),
        (("--budget-bytes", 800), 800, 0.25),
    ):
        budget = calibrated(capsys, store, "--dry-run", *options).document["budget"]
        assert (budget["bytes"]["allowed"], budget["mac_share"]["allowed"]) == (size, share)
        assert budget["bytes"]["used"] <= size
        assert budget["mac_share"]["used"] <= share
    by_rank = calibrated(capsys, store, "--dry-run", "--rank", 1).document["budget"]
    assert by_rank["bytes"]["allowed"] != 1000


def test_pack_takes_the_budget(tmp_path: Path, capsys: Capture) -> None:
    write_onnx(GRAPH, tmp_path / "model.onnx")
    samples = data(tmp_path / "data.npz", 64)
    arguments = ("pack", tmp_path / "model.onnx", "--samples", samples, "--out", tmp_path / "o.npp")
    limits = ("--budget-bytes", 900, "--budget-mac-share", 0.5)
    said = npp(capsys, *arguments, *limits, "--json").document
    assert said["budget"] == {"rank": None, "bytes": 900, "mac_share": 0.5, "slowdown": None}
    assert npp(capsys, "inspect", tmp_path / "o.npp", "--json").document["budget"] == said["budget"]
    assert "900 B, 50.0% of the multiply-accumulates" in npp(capsys, *arguments, *limits).out
    assert "rank 8" in npp(capsys, *arguments).out
    both = npp(capsys, *arguments, "--rank", 8, *limits)
    assert (both.code, both.out) == (2, "")
    assert "raise --budget-bytes" in npp(capsys, *arguments, "--budget-bytes", 10).sentence()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rank", 8, "--budget-bytes", 900), "give --rank or --budget-bytes, not both"),
        (("--budget-bytes", -1), "--budget-bytes"),
        (("--budget-mac-share", -0.1), "--budget-mac-share"),
        (("--budget-mac-share", "nan"), "not a finite number"),
        (("--budget-mac-share", "inf"), "not a finite number"),
    ],
)
def test_what_is_no_budget_is_wrong_usage(
    options: tuple[Any, ...], words: str, store: Path, capsys: Capture
) -> None:
    said = calibrated(capsys, store, *options)
    assert (said.code, said.out) == (2, "")
    assert words in said.err


@pytest.mark.parametrize("option", [("--budget-bytes", 100), ("--budget-mac-share", 0.001)])
def test_a_budget_too_small_for_gains_says_what_to_raise(
    option: tuple[Any, ...], store: Path, capsys: Capture
) -> None:
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    said = calibrated(capsys, store, *option)
    assert said.code == 1
    assert f"raise {option[0]}" in said.sentence()
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


def test_what_is_recoverable_is_told_first_and_in_the_report(store: Path, capsys: Capture) -> None:
    said = calibrated(capsys, store, "--dry-run").document["recoverable"]
    assert 0 <= said["noise_floor"] <= said["reachable"] < said["before"]
    assert {layer["name"] for layer in said["layers"]} == {"first", "depthwise", "strided", "head"}
    told = npp(capsys, "calibrate", "--store", store)
    pattern = r"recoverable: layer error [\d.]+ to about [\d.]+ \(read noise 0\)\n"
    assert re.fullmatch(pattern, told.err)
    assert "factors: " in told.out
    means = {name: said[name] for name in ("before", "reachable", "noise_floor")}
    assert Store(store).read_history().entries[-1]["recoverable"] == means


def test_where_nothing_can_be_gained_no_factors_are_written(
    tmp_path: Path, capsys: Capture
) -> None:
    store = installed(capsys, ideal_bundle(tmp_path / "ideal.npp"), tmp_path / "store", "ideal")
    said = calibrated(capsys, store, "--select", "all")
    assert said.code == 3
    assert "can only become" in said.document["reason"]
    assert "old factors kept" in said.document["reason"]
    assert said.document["bytes_written"] == said.document["sequence"] == 0
    found = said.document["recoverable"]
    assert found["reachable"] > 0.99 * found["before"]
    assert Store(store).load_factors() is None
    assert all(math.isfinite(layer["error_after"]) for layer in said.document["layers"])


def ideal_bundle(path: Path) -> Path:
    """Weights that int8 holds exactly: an ideal chip only rounds activations."""
    graph = on_int8_grid(chain(3, width=16))
    options = PackOptions(held_back=16, references=48, scheme="int8", rank=1)
    network = prepare(graph, samples_for(graph, 64), None, options)
    path.write_bytes(package_bytes(Package(network, "chain", "cim")))
    return path
