"""The benchmark's rivals do what they say, on tiny networks and against plain least squares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recovery.cases import CASES
from recovery.chip_weights import effective_weights
from recovery.closed_forms import gain_and_offset, offset, scalar
from recovery.full_rank import full_rank, ridge_map
from recovery.methods import methods
from recovery.oracle import best_low_rank, oracle
from recovery.results import Results, key_of
from recovery.samples import Samples, split
from recovery.scoring import score
from recovery.table import half_interval_95, strangers

from agent.runtimes.cim_paths import written
from device_models.memories.product import effective
from tests.recovery_subjects import MISMATCH, subject

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("nothing", "gain", "lora-labels", "oracle", "full-rank", "probe-64")


def rows(seed: int, n: int = 60, m: int = 4) -> tuple[Any, Any, Any]:
    """What a layer makes, what it should, and its bias."""
    generator = np.random.default_rng(seed)
    made = generator.standard_normal((n, m))
    wanted = 1.7 * made + 0.3 * generator.standard_normal((n, m)) - 0.4
    return made, wanted, generator.standard_normal(m)


def test_the_scalar_is_that_of_least_squares() -> None:
    made, wanted, bias = rows(0)
    expected = np.linalg.lstsq((made - bias).reshape(-1, 1), (wanted - bias).ravel())[0][0]
    gains, shift = scalar(made, wanted, bias)
    np.testing.assert_allclose(gains, expected, rtol=1e-6)
    np.testing.assert_allclose(made * gains + shift, (made - bias) * expected + bias, rtol=1e-5)


def test_the_offset_is_that_of_least_squares() -> None:
    made, wanted, bias = rows(1)
    gains, shift = offset(made, wanted, bias)
    assert (gains == 1).all()
    expected = np.linalg.lstsq(np.ones((len(made), 1)), wanted - made)[0][0]
    np.testing.assert_allclose(shift, expected, rtol=1e-5)


def test_gain_and_offset_are_those_of_least_squares() -> None:
    made, wanted, bias = rows(2)
    gains, shift = gain_and_offset(made, wanted, bias)
    for i in range(made.shape[1]):
        design = np.stack([made[:, i], np.ones(len(made))], axis=1)
        expected = np.linalg.lstsq(design, wanted[:, i])[0]
        np.testing.assert_allclose([gains[i], shift[i]], expected, rtol=1e-5)


def test_a_channel_that_never_moves_keeps_its_gain() -> None:
    made, wanted, bias = rows(3)
    made[:, 1] = 2.0
    gains, shift = gain_and_offset(made, wanted, bias)
    assert gains[1] == 1
    np.testing.assert_allclose(shift[1], wanted[:, 1].mean() - 2.0, rtol=1e-5)


@given(st.integers(0, 2**16), st.integers(0, 5))
def test_the_oracle_reaches_the_optimum_of_its_rank(seed: int, rank: int) -> None:
    # Eckart and Young: no map of this rank leaves less of x·error than the truncated SVD of it.
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((40, 6)) @ generator.standard_normal((6, 6))
    error = generator.standard_normal((6, 5))
    a, b = best_low_rank(error, x.T @ x / len(x), rank)
    assert a.shape == (rank, 6)
    assert b.shape == (5, rank)
    sizes = np.linalg.svd(x @ error, compute_uv=False)
    left = np.linalg.norm(x @ error - x @ a.T @ b.T) ** 2
    np.testing.assert_allclose(left, (sizes[rank:] ** 2).sum(), rtol=1e-6, atol=1e-9)


def test_inputs_that_are_never_driven_do_not_trouble_the_oracle() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((40, 6))
    x[:, 2] = 0
    error = generator.standard_normal((6, 5))
    a, b = best_low_rank(error, x.T @ x / len(x), 5)
    np.testing.assert_allclose(x @ a.T @ b.T, x @ error, atol=1e-8)


def test_the_full_map_is_that_of_ridge_regression() -> None:
    generator = np.random.default_rng(0)
    x, r = generator.standard_normal((50, 6)) + 1, generator.standard_normal((50, 3))
    n = len(x)
    found = ridge_map(x.T @ x / n, x.mean(axis=0), x.T @ r / n, r.mean(axis=0))
    centred, wanted = x - x.mean(axis=0), r - r.mean(axis=0)
    ridge = np.sqrt(n * 1e-3 * (centred**2).mean())
    design = np.concatenate([centred, ridge * np.eye(6)])
    expected = np.linalg.lstsq(design, np.concatenate([wanted, np.zeros((6, 3))]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("groups", [6, 2])
def test_probing_reads_the_weights_that_the_chip_has(groups: int) -> None:
    one = subject(groups)
    found = effective_weights(one.runtime(), one.network)
    for layer in one.network.layers:
        codes = written(one.network.weights[layer.name])
        true = effective(MISMATCH.chip_model, codes, one.chip, layer.name)  # type: ignore[arg-type]
        np.testing.assert_allclose(found[layer.name], true, rtol=1e-4, atol=1e-6)


def test_full_rank_repairs_what_no_cheaper_method_repairs() -> None:
    one = subject()
    nothing, gains, limit = (
        score(one, methods()[name].run(one)) for name in ("nothing", "gain", "full-rank")
    )
    assert limit.divergence < 0.2 * gains.divergence < 0.2 * nothing.divergence
    assert limit.agreement >= 0.95


def test_the_oracle_repairs_the_network() -> None:
    one = subject()
    assert score(one, oracle(one)).divergence < score(one, methods()["nothing"].run(one)).divergence


def test_prices_count_what_is_stored_and_multiplied() -> None:
    one = subject()
    layers = one.network.layers
    outputs = sum(layer.outputs for layer in layers)
    assert methods()["offset"].run(one).price.bytes == 2 * outputs
    assert methods()["offset"].run(one).price.mac_share == 0
    assert methods()["gain"].run(one).price.bytes == 4 * outputs
    weights = sum(layer.weight.size for layer in layers)
    assert full_rank(one).price.bytes == 2 * (weights + outputs)
    assert full_rank(one).price.mac_share == 1


def test_results_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    record = {"kind": "recovery", "case": "a", "chip": 1, "buffer": 0, "method": "b", "x": 1}
    results.add(record)
    with results.path.open("a") as file:
        file.write('{"kind": "recov')
    assert list(results.read().values()) == [record]
    results.add({**record, "chip": 2})  # lost with the line it was appended to, and done again
    results.add({**record, "chip": 2})
    assert len(results.read()) == 2


def test_the_interval_counts_chips_not_buffers() -> None:
    found = [{"chip": chip, "x": float(chip)} for chip in (1, 2, 3) for _ in range(3)]
    assert half_interval_95(found, "x") == pytest.approx(4.303 / np.sqrt(3))
    assert np.isnan(half_interval_95(found[:3], "x"))


def test_results_of_another_main_path_are_told() -> None:
    case = CASES[0]
    same = {"kind": "recovery", "case": case.name, "chip": 1, "buffer": 0, "witness": 8.0}
    found = [{**same, "method": name} for name in ("nothing", "gain")]
    assert strangers({key_of(one): one for one in found}, case) == []
    found.append({**same, "method": "probe-64", "witness": 8.1})
    assert strangers({key_of(one): one for one in found}, case) == found[2:]


def test_no_sample_is_in_a_buffer_and_in_the_rest() -> None:
    pool = Samples(np.arange(300, dtype=np.float32), np.arange(300))
    taken, rest = split(pool, 1)
    assert len(taken) == 128
    assert sorted([*taken.y, *rest.y]) == list(range(300))
    assert not np.array_equal(taken.y, split(pool, 2)[0].y)


def test_what_cannot_be_trained_says_why() -> None:
    planes = CASES[-1]
    assert not planes.linear
    assert methods()["lora-labels"].missing(planes) is not None
    assert methods()["probe-64"].missing(planes) is None
    assert methods()["oracle"].missing(planes) is not None
    assert methods()["oracle"].missing(CASES[0]) is None


@pytest.mark.slow
def test_the_benchmark_runs_quickly_on_real_models(data_directory: Path, tmp_path: Path) -> None:
    results, report = tmp_path / "results.jsonl", tmp_path / "recovery.md"
    script = [sys.executable, str(ROOT / "tools" / "bench_recovery.py"), "--results", str(results)]
    environment = {**os.environ, "NPP_DATA": str(data_directory), "PYTHONPATH": str(ROOT)}

    def bench(*arguments: str) -> str:
        done = subprocess.run(
            [*script, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    quick = ("--quick", "--only", "keywords", "--methods", ",".join(QUICK))
    bench(*quick)
    found = {record["method"]: record for record in Results(results).read().values()}
    assert {*QUICK} - {"lora-labels"} <= set(found)
    assert found["full-rank"]["agreement"] > found["nothing"]["agreement"]
    assert found["probe-64"]["agreement"] > found["gain"]["agreement"] - 0.02
    assert bench(*quick).count("recovery") == 0, "all was done already"
    bench("--report", "--out", str(report))
    assert "**ours: probe**, 64 samples" in report.read_text()
    assert report.with_suffix(".png").stat().st_size < 150_000
    json.loads(results.read_text().splitlines()[0])
