"""Training of levels: gradients, resuming, and what is kept when it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.cli.program import run as run_program
from agent.data_file import Data
from agent.errors import InputError
from agent.runtimes.cim import CimRuntime
from agent.workstation.level_training import TrainingChoice, journal_path, level_training
from calib.costs import network_bits_mean
from calib.decision import decision_graph
from calib.factors import no_factors
from calib.graph.executor import run
from calib.graph.model import Graph
from calib.importers.onnx_export import write_onnx
from calib.level_costs import channels_of
from calib.losses import distillation
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.mixed_bytes import mixed_bytes
from calib.train.level_network import Lesson, LevelNetwork
from calib.train.level_noise import Noise, interpolated
from calib.train.level_rounding import Rounding
from calib.train.level_stages import Journal, Stage, run_stage
from calib.train.levels import LevelTraining
from device_models.array import Chip, State
from device_models.presets import preset
from tests import agent_stores
from tests.small_networks import chain, classifier, samples_for

Array = np.ndarray[Any, Any]
LEVELS = (1, 2, 4)
OPTIONS = PackOptions(
    scheme="channelwise", levels=LEVELS, bits_mean=2.0, held_back=6, references=18
)


def lesson_of(graph: Graph, epochs: int, count: int = 48) -> Lesson:
    cut = decision_graph(graph)
    x = samples_for(graph, count, seed=3)
    answers = run(cut, x)[cut.output]
    return Lesson(x, distillation(answers, classes=True), count - 12, epochs)


def trained(graph: Graph, epochs: int, journal: Journal | None = None) -> PackedNetwork:
    learner = LevelTraining(lesson_of(graph, epochs), journal or Journal())
    x = samples_for(graph, 24)
    with np.errstate(under="ignore"):
        return prepare(graph, x, None, OPTIONS, learner=learner)


def codes_of(network: PackedNetwork) -> dict[str, bytes]:
    return {name: mixed_bytes(layer) for name, layer in network.mixed.items()}


def test_steps_between_levels_are_interpolated_and_met_at_them() -> None:
    logarithms = np.log2(np.array([8.0, 4.0, 1.0]))[:, None, None] * np.ones((3, 1, 5))
    bits = np.array([1.0, 1.5, 2.0, 3.0, 4.0])
    steps, growth = interpolated(logarithms, LEVELS, bits)
    np.testing.assert_allclose(steps[0], [8, 8 / 2**0.5, 4, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(growth[0], -np.log(2), rtol=1e-6)


def test_the_gradient_of_bits_is_that_of_finite_differences() -> None:
    """With the same noise drawn twice; the loss in float64, so that differences show."""
    graph = classifier(groups=1)
    lesson = lesson_of(graph, 10)
    network = LevelNetwork.of(graph, ("Add",))
    noise = Noise.of(network, lesson, LEVELS, 2.0)
    bits = {la.name: np.full(channels_of(la), 2) for la in network.layers}
    begin = {**network.variables(), **noise.begin(bits)}
    begin = {n: v + np.float32(0.01) if n.endswith("@bits") else v for n, v in begin.items()}
    indices = np.arange(24)

    def slope_without_price(variables: dict[str, Array]) -> tuple[float, Array]:
        generator = np.random.default_rng(5)
        value, slopes = noise.slopes(variables, indices, generator)
        priced = slopes["strided@bits"]
        return value, priced

    value, priced = slope_without_price(begin)
    step = 0.01
    moved = []
    for sign in (1, -1):
        changed = dict(begin)
        changed["strided@bits"] = begin["strided@bits"] + np.float32(sign * step)
        moved.append(slope_without_price(changed)[0])
    numeric = (moved[0] - moved[1]) / (2 * step)
    price = _price_of(noise, begin, indices)
    assert np.isfinite(value)
    assert float((priced - price).sum()) == pytest.approx(numeric, rel=0.05, abs=2e-3)


def _price_of(noise: Noise, variables: dict[str, Array], indices: Array) -> Array:
    """What the price adds, from the price with a budget so large that nothing is to be paid."""
    free = replace(noise, bits_mean=100.0)
    with_price = noise.slopes(variables, indices, np.random.default_rng(5))[1]["strided@bits"]
    without = free.slopes(variables, indices, np.random.default_rng(5))[1]["strided@bits"]
    return with_price - without


def test_the_price_rises_with_the_bits_above_the_budget() -> None:
    graph = classifier(groups=1)
    lesson = lesson_of(graph, 10)
    network = LevelNetwork.of(graph, ("Add",))
    slopes = []
    for bits_mean in (3.5, 2.0, 1.5):
        noise = Noise.of(network, lesson, LEVELS, bits_mean)
        each = {la.name: np.full(channels_of(la), 3) for la in network.layers}
        begin = {**network.variables(), **noise.begin(each)}
        found = noise.slopes(begin, np.arange(24), np.random.default_rng(5))[1]
        slopes.append(sum(float(s.sum()) for n, s in found.items() if n.endswith("@bits")))
    assert slopes == sorted(slopes)
    assert slopes[0] < 0 < slopes[-1]


@pytest.mark.parametrize("graph", [classifier(), chain(3, relu=True)], ids=["conv", "matmul"])
def test_what_trained_is_what_the_chip_runs(graph: Graph) -> None:
    """The rounded network of training gives the answers of an ideal chip with its codes."""
    network = trained(graph, 4)
    rounding = Rounding(
        LevelNetwork.of(network.graph, ("Max", "Min", "Add")), lesson_of(graph, 4), network.mixed
    )
    x = samples_for(graph, 6, seed=9)
    cut = rounding.network.graph
    expected = run(cut, x, replace=rounding._rounded)[cut.output]  # of this test
    chip = CimRuntime(network, Chip(preset("ideal"), 0), State(), np.random.default_rng(0))
    found = chip.run(x, no_factors(network.layers), {}).answers
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_training_answers_more_like_the_float_network_and_keeps_the_budget() -> None:
    graph = classifier(groups=1)
    x = samples_for(graph, 64, seed=21)
    clean = run(graph, x)[graph.output]
    errors = []
    for epochs in (0, 25):
        network = trained(graph, epochs) if epochs else prepare(graph, x[:24], None, OPTIONS)
        chip = CimRuntime(network, Chip(preset("ideal"), 0), State(), np.random.default_rng(0))
        logits = chip.run(x, no_factors(network.layers), {}).answers
        found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        errors.append(float(np.linalg.norm(found - clean)))
        assert network_bits_mean(network) <= 2.0 + 1e-6
    assert errors[1] < errors[0]


def test_references_and_factors_belong_to_the_float_network_whatever_was_trained() -> None:
    graph = classifier()
    network = trained(graph, 4)
    x = samples_for(graph, 24)
    block = network.references.block(np.arange(24))
    cut = decision_graph(graph)
    np.testing.assert_allclose(block.answers, run(cut, x)[cut.output], atol=5e-3)


class Interrupted(Exception):  # noqa: N818  # it is no error of ours
    """Stands for a power cut."""


@pytest.mark.parametrize("epoch", [1, 2, 4, 6])
def test_an_interrupted_training_ends_with_the_same_codes(epoch: int) -> None:
    graph = classifier()
    whole = codes_of(trained(graph, 7))
    kept: dict[str, Array] = {}
    left = [epoch]

    def save(found: Any) -> None:
        kept.clear()
        kept.update({name: value.copy() for name, value in found.items()})
        left[0] -= 1
        if not left[0]:
            raise Interrupted

    with pytest.raises(Interrupted):
        trained(graph, 7, Journal(save=save))
    assert codes_of(trained(graph, 7, Journal(kept=dict(kept)))) == whole


def test_what_is_not_a_number_stops_and_keeps_the_last_good_state() -> None:
    said: list[str] = []

    def slopes(variables: Any, _indices: Array, _: Any) -> tuple[float, Any]:
        value = float("nan") if variables["a"] < 0.98 else float(variables["a"])
        return value, {"a": np.ones_like(variables["a"])}

    stage = Stage("noise", 40, 64, slopes, learning_rate=1e-2)
    found = run_stage(stage, {"a": np.array(1.0)}, Journal(warn=said.append))
    assert 0.9 < float(found["a"]) <= 1.0
    assert len(said) == 1
    assert "not finite any more; the last good state is kept" in said[0]


def test_the_best_epoch_is_kept() -> None:
    def slopes(variables: Any, _indices: Array, _: Any) -> tuple[float, Any]:
        return float(variables["a"]), {"a": np.ones_like(variables["a"])}

    def judge(variables: Any) -> float:
        return abs(float(variables["a"]) - 0.95)

    stage = Stage("rounding", 10, 64, slopes, judge, learning_rate=1e-2)
    found = run_stage(stage, {"a": np.array(1.0)}, Journal())
    assert judge(found) < 0.02


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    write_onnx(agent_stores.GRAPH, tmp_path / "small.onnx")
    x, y = agent_stores.labelled(agent_stores.SAMPLES, 1)
    np.savez(tmp_path / "small.npz", x=x, y=y)
    np.savez(tmp_path / "unlabelled.npz", x=x)
    np.savez(tmp_path / "few.npz", x=x[:10])
    return [
        *("pack", str(tmp_path / "small.onnx"), "--samples", str(tmp_path / "small.npz")),
        *("--out", str(tmp_path / "small.npp"), "--scheme", "channelwise", "--bits", "3"),
    ]


def test_pack_trains_and_leaves_nothing_behind(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ("--train", str(tmp_path / "unlabelled.npz"), "--epochs", "4", "--json")
    assert run_program([*arguments, *train]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["bits_mean"] <= 3
    assert "unlabelled.npz has no labels: the float network's answers are the aim" in err
    assert (tmp_path / "small.npp").exists()
    assert not journal_path(tmp_path / "small.npp").exists()


def test_a_state_of_another_training_is_not_gone_on_from(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ("--train", str(tmp_path / "small.npz"), "--epochs", "1")
    for content in (b"broken", b""):
        journal_path(tmp_path / "small.npp").write_bytes(content)
        assert run_program([*arguments, *train]) == 0
        assert "small.npp.training is damaged: training starts anew" in capsys.readouterr().err
    np.savez(tmp_path / "other.npz", key=np.array("other"))
    (tmp_path / "other.npz").rename(journal_path(tmp_path / "small.npp"))
    assert run_program([*arguments, *train]) == 0
    assert "was begun with another model, data or options" in capsys.readouterr().err


def test_a_command_goes_on_from_the_file_beside_the_bundle(tmp_path: Path) -> None:
    graph = agent_stores.GRAPH
    x, y = agent_stores.labelled(agent_stores.SAMPLES, 1)
    said: list[str] = []

    def stop(_done: int, _of: int) -> None:
        raise Interrupted

    data = Data(x, y)
    bundles = []
    for tell in (stop, lambda _done, _of: None):
        choice = TrainingChoice(
            tmp_path / "d.npz", 4, tmp_path / "b.npp.training", said.append, tell
        )
        learner = level_training(graph, data, OPTIONS, choice)
        try:
            bundles.append(codes_of(prepare(graph, x[:24], y[:24], OPTIONS, learner=learner)))
        except Interrupted:
            continue
    assert len(bundles) == 1
    assert said == ["training goes on from b.npp.training"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--epochs", "3"), 2, "give --train as well"),
        (("--train", "few.npz"), 1, "10 samples are too few to train with; give at least 16"),
        (("--train", "missing.npz"), 1, "missing.npz"),
        (("--train", "small.npz", "--epochs", "0"), 2, "0 is not in the range"),
        (("--train", "small.npz", "--scheme", "int8"), 2, "belong to --scheme channelwise"),
    ],
)
def test_what_cannot_train_is_one_sentence(
    options: tuple[str, ...],
    code: int,
    sentence: str,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(tmp_path / one) if one.endswith(".npz") else one for one in options]
    assert run_program([*arguments, *given]) == code
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_few_samples_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    x, _ = agent_stores.labelled(8, 1)
    choice = TrainingChoice(tmp_path, 1, tmp_path / "x", lambda _: None, lambda _done, _of: None)
    with pytest.raises(InputError, match="too few to train with"):
        level_training(agent_stores.GRAPH, Data(x, None), OPTIONS, choice)
