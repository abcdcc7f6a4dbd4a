"""`--method gradient`: who trains and who judges, the closed loop, the command, the refusal."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from agent.buffer import SampleBuffer
from agent.errors import RuntimeUnavailableError
from agent.gathering import gathered
from agent.gradient import VALIDATION_SAMPLES, parts
from agent.loop import CalibrationRequest, ClosedLoop
from agent.methods import GRADIENT_METHODS, METHODS, fit
from agent.runtimes.base import Runtime
from agent.runtimes.cim import CimRuntime
from calib.factor_codes import encode_factors
from calib.factors import Factors, no_factors
from calib.layer_fit import Plan, plan_together
from calib.packed import PackedNetwork
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset
from tests.agent_stores import bundle, npp
from tests.fakes import DeviatingRuntime, MemoryStore
from tests.small_networks import classifier, packed, signal_network

Capture = pytest.CaptureFixture[str]
CHOSEN = np.arange(16, 40)


@cache
def network_of(kind: str, references_as: str = "recomputed") -> PackedNetwork:
    graph = {"classifier": classifier, "signal": signal_network}[kind]()
    return packed(graph, count=64, scheme="int4", rank=2, references_as=references_as)


def chip_of(network: PackedNetwork) -> CimRuntime:
    chip = Chip(preset("mismatch-20"), 1)
    return CimRuntime(network, chip, State(), np.random.default_rng(0))


def planned(network: PackedNetwork) -> Plan:
    return plan_together(network, dict(gathered(chip_of(network), network, CHOSEN)), network.budget)


def fitted(method: str, network: PackedNetwork) -> Factors:
    """On a fresh chip, the same each time."""
    return fit(method, chip_of(network), network, CHOSEN, planned(network))


def loss_on(network: PackedNetwork, factors: Factors, indices: np.ndarray) -> float:
    block = network.references.block(indices)
    found = chip_of(network).run(block.inputs, factors, {}).answers
    return float(network.decision.losses(block.answers, found).mean())


@pytest.mark.parametrize(
    ("chosen", "training", "judges"),
    [
        (np.arange(16, 32), 16, 32),  # others are plenty: at most VALIDATION_SAMPLES of them
        (np.arange(16, 60), 37, 11),  # the 4 others and 7 of the chosen, a quarter in all
        (np.arange(16, 64), 36, 12),  # all are chosen: a quarter judges
        (np.array([20]), 1, 32),
    ],
)
def test_held_back_samples_neither_train_nor_judge_and_no_sample_does_both(
    chosen: np.ndarray, training: int, judges: int
) -> None:
    references = network_of("classifier").references
    found = parts(references, chosen, np.random.default_rng(0))
    assert (len(found[0]), len(found[1])) == (training, judges)
    assert len(found[1]) <= VALIDATION_SAMPLES
    assert set(found[0]) <= set(chosen)
    assert not set(found[0]) & set(found[1])
    assert set(found[0]) | set(found[1]) <= set(fit_indices(references))


@pytest.mark.parametrize("kind", ["classifier", "signal"])
@pytest.mark.parametrize("references_as", ["recomputed", "stored"])
@pytest.mark.parametrize("method", sorted(GRADIENT_METHODS))
def test_it_is_never_worse_than_its_start_on_the_validation_part(
    kind: str, references_as: str, method: str
) -> None:
    network = network_of(kind, references_as)
    found = fitted(method, network)
    begin = no_factors(network.layers)
    if method == "gradient":
        begin = fitted("probe", network)
    judges = parts(network.references, CHOSEN, np.random.default_rng(network.seed))[1]
    assert loss_on(network, found, judges) <= loss_on(network, begin, judges)
    again = fitted(method, network)
    assert encode_factors(found, network.layers) == encode_factors(again, network.layers)
    bits = {name: one.bits for name, one in found.surrogates.items()}
    assert bits == planned(network).bits  # of each component as they were bought


def test_from_zero_a_chip_gets_better_on_samples_that_took_no_part() -> None:
    network = network_of("classifier")
    found = fitted("gradient-from-zero", network)
    held_back = np.arange(16)
    assert loss_on(network, found, held_back) < 0.7 * loss_on(
        network, no_factors(network.layers), held_back
    )


def loop_of(network: PackedNetwork, runtime: Runtime) -> ClosedLoop:
    nothing = no_factors(network.layers)
    generator = np.random.default_rng(0)
    return ClosedLoop(network, runtime, nothing, SampleBuffer(), lambda: 0.0, generator)


@pytest.mark.parametrize("method", sorted(GRADIENT_METHODS))
def test_a_runtime_without_main_paths_refuses_in_one_sentence(method: str) -> None:
    network = network_of("classifier")
    loop = loop_of(network, DeviatingRuntime(network, 0.1, np.random.default_rng(0)))
    store = MemoryStore(lambda: loop.factors)
    with pytest.raises(RuntimeUnavailableError) as caught:
        loop.calibrate(CalibrationRequest(method=method), store)
    assert str(caught.value) == (
        "this runtime's layers cannot stand in a graph, so nothing can be trained through them; "
        "choose --method sequential"
    )
    assert store.log == []


@pytest.mark.parametrize("method", sorted(GRADIENT_METHODS))
@pytest.mark.parametrize("select", ["sensitivity", "all"])
def test_calibrate_by_gradient_from_the_command_line(
    method: str, select: str, tmp_path: Path, capsys: Capture
) -> None:
    store = ("--store", tmp_path / "store")
    chip = ("--chip", "mismatch-30", "--chip-seed", 5)
    assert npp(capsys, "install", bundle(tmp_path / "small.npp"), *store, *chip).code == 0
    options = ("--method", method, "--select", select, "--json")
    said = npp(capsys, "calibrate", *store, *options)
    assert said.err == ""
    assert said.document["method"] == method
    # Training from zero looks at answers only: layer errors, which the verdict asks for, may rise.
    assert said.code == 0 or (method == "gradient-from-zero" and "layer error" in said.out)
    assert said.document["held_back"]["after"] < said.document["held_back"]["before"]
    assert said.document["samples_used"] == (48 if select == "all" else 32)
    again = npp(capsys, "calibrate", *store, "--method", method)
    assert again.code in {0, 3}
    assert f"\n{method}, " in again.out


def test_every_gradient_method_is_a_method() -> None:
    assert set(METHODS) >= GRADIENT_METHODS
