"""The benchmark's trained rivals: PyTorch computes what the chip computes, and training helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed; it comes with the extra bench")

from recovery.chip_weights import effective_weights
from recovery.methods import training
from recovery.pytorch.network import torch_layers
from recovery.pytorch.parameters import corrections, factors_of, learning, units_of
from recovery.pytorch.rivals import answers, trained
from recovery.pytorch.training import Plan
from recovery.recipes import RECIPES, Form
from recovery.scoring import score

from calib.factors import no_factors
from tests.recovery_subjects import subject


@pytest.mark.parametrize("groups", [6, 2])
def test_pytorch_answers_as_the_chip_does(groups: int) -> None:
    one = subject(groups)
    layers = torch_layers(one.network, effective_weights(one.runtime(), one.network))
    x = one.shared.material.test.x
    found = answers(one.network.decision_graph, layers, {}, x)
    chip = one.runtime().run(x, no_factors(one.network.layers), {}).answers
    # An activation on the border of two codes may fall to either side.
    assert np.median(np.abs(found - chip)) < 1e-5 * np.abs(chip).max()
    assert np.abs(found - chip).max() < 0.02 * np.abs(chip).max()


def test_lora_answers_on_the_board_as_in_training() -> None:
    one = subject(2)
    generator = np.random.default_rng(0)
    layers = torch_layers(one.network, effective_weights(one.runtime(), one.network))
    units = units_of(one.shared, layers)
    learnt = learning(layers, Form(rank=2), generator)
    for tensor in learnt.values():
        tensor.data += 0.1 * tensor.new_tensor(generator.standard_normal(tensor.shape))
    found = corrections(layers, units, no_factors(one.network.layers), learnt)
    x = one.shared.material.test.x
    in_training = answers(one.network.decision_graph, layers, found, x)
    board = one.runtime().run(x, factors_of(layers, found), {}).answers
    assert np.abs(in_training - board).max() < 0.02 * np.abs(board).max()
    plain = one.runtime().run(x, no_factors(one.network.layers), {}).answers
    assert np.abs(in_training - plain).max() > 0.1 * np.abs(board).max()


def test_training_lowers_the_loss_and_never_ends_worse() -> None:
    one = subject()
    for form in (Form(), Form(rank=2), Form(weights=True)):
        done = trained(one, form, Plan(240, 8, 1e-2, by_labels=False))
        assert done.details["held_back"] < done.details["held_back_before"]
    wild = trained(one, Form(rank=2), Plan(64, 8, 1e3, by_labels=True))
    assert wild.details["held_back"] <= wild.details["held_back_before"]


@pytest.mark.parametrize("name", ["lora-labels", "full-distillation"])
def test_the_same_chip_and_samples_train_to_the_same(name: str) -> None:
    recipe = next(one for one in RECIPES if one.name == name)
    train = training(replace(recipe, rates={"tiny.tflite": 1e-2}), 96)
    one, other = (score(subject(), train(subject())) for _ in range(2))
    assert one == other
