"""Weights of 4 bits on the runtime tflite: branches in their bytes, none in the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.gathering import planned
from agent.methods import fit
from agent.runtimes.tflite import TfliteRuntime
from agent.runtimes.tflite_patch import patched
from calib.budget import Budget
from calib.factors import Factors, no_factors
from calib.references import fit_indices, held_back_indices, in_blocks
from tests.test_importers_tflite import pools
from tests.test_tflite_branches import model_in
from tests.tflite_packs import FEW, Packed, packed_for_tflite, samples_of

INT4 = replace(FEW, scheme="int4")


def four_bits(folder: Path) -> tuple[Packed, TfliteRuntime]:
    path = model_in(folder, pools)
    made = packed_for_tflite(path, samples_of(path), branches="auto", options=INT4)
    return made, TfliteRuntime(made.network, made.files)


def test_they_get_no_branch_and_any_rank(tmp_path: Path) -> None:
    made, runtime = four_bits(tmp_path)
    assert not any(layer.rank for layer in made.plan.layers.values())
    assert runtime.largest_ranks == {}


def test_a_calibration_takes_their_error_away(tmp_path: Path) -> None:
    made, runtime = four_bits(tmp_path)
    network, nothing = made.network, no_factors(made.network.layers)
    chosen = fit_indices(network.references)
    plan = planned(runtime, network, chosen, Budget(rank=8))
    assert any(plan.bits.values())

    def off(factors: Factors) -> float:
        wrong = 0.0
        for block in in_blocks(network.references, held_back_indices(network.references)):
            answers = runtime.run(block.inputs, factors, {}).answers
            wrong += float(np.square(block.answers - answers).sum())
        return wrong

    for method in ("probe", "sequential"):
        factors = fit(method, runtime, network, chosen, plan)
        assert off(factors) < 0.5 * off(nothing)


def test_the_graph_stays_as_large_and_zeros_change_no_byte(tmp_path: Path) -> None:
    made, runtime = four_bits(tmp_path)
    network, plan = made.network, made.plan
    places = {name: layer.model for name, layer in plan.layers.items()}
    nothing = no_factors(network.layers)
    plain = patched(made.model, places, network, nothing)
    factors = fit(
        "probe",
        runtime,
        network,
        fit_indices(network.references),
        planned(runtime, network, fit_indices(network.references), Budget(rank=8)),
    )
    assert len(patched(made.model, places, network, factors)) == len(plain) == len(made.model)
    zeros = {
        name: replace(nothing[name], a=one.a, b=np.zeros_like(one.b), bits=one.bits)
        for name, one in factors.surrogates.items()
    }
    assert patched(made.model, places, network, replace(factors, surrogates=zeros)) == plain
