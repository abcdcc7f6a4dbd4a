"""The closed loop on phase-change memory behind coarse converters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from agent.gathering import planned
from agent.measurement import judge_chip
from agent.methods import fit
from agent.runtimes.cim import CimRuntime
from calib.budget import Budget
from calib.factors import no_factors
from calib.packed import PackedNetwork
from calib.references import fit_indices
from calib.typical_codes import SAMPLES
from device_models.array import Chip, State
from device_models.memories.analog_periphery import AnalogPeriphery
from device_models.memories.pcm import PhaseChangeMemory
from tests.small_networks import chain, classifier, packed

MONTH_S = 30 * 86_400.0
SIX_BITS = AnalogPeriphery(rows=64, adc_bits=6, column_gain_sigma=0.02, column_offset=0.01)


@cache
def network_of(kind: str, form: str = "recomputed") -> PackedNetwork:
    graph = classifier(groups=1) if kind == "dense" else chain(3, relu=True)
    return packed(graph, count=64, scheme="int4", rank=4, references_as=form)


def chip_of(network: PackedNetwork, periphery: AnalogPeriphery | None) -> CimRuntime:
    chip = Chip(PhaseChangeMemory(periphery=periphery), 3)
    return CimRuntime(network, chip, State(age_s=MONTH_S), np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["dense", "chain"])
@pytest.mark.parametrize("method", ["probe", "sequential"])
def test_a_month_old_chip_with_six_bit_converters_is_repaired(kind: str, method: str) -> None:
    network = network_of(kind)
    runtime = chip_of(network, SIX_BITS)
    chosen = fit_indices(network.references)[:24]
    before = judge_chip(runtime, network, no_factors(network.layers))
    plan = planned(runtime, network, chosen, Budget(rank=4))
    after = judge_chip(runtime, network, fit(method, runtime, network, chosen, plan))
    assert after.loss < 0.7 * before.loss
    assert after.mean_error < 0.7 * before.mean_error


@pytest.mark.parametrize("kind", ["dense", "chain"])
@pytest.mark.parametrize("form", ["recomputed", "stored", "moments"])
def test_converters_are_set_to_what_the_references_drive_them_with(kind: str, form: str) -> None:
    """On typical rows no layer is off by more than half a step of the largest typical sum."""
    network = network_of(kind, form)
    fine = AnalogPeriphery(rows=256, adc_bits=12)
    tiles, bare = (chip_of(network, one) for one in (fine, None))
    block = network.references.block(fit_indices(network.references)[:SAMPLES])
    for layer in network.layers:
        rows = block.layers[layer.name].rows
        found, wanted = (
            (chip.probe(layer, rows) - layer.bias) / network.weights[layer.name].scales.ravel()
            for chip in (tiles, bare)
        )
        step = np.abs(wanted).max() / (2**11 - 1)
        assert 0.2 * step < np.abs(found - wanted).max() < 0.51 * step


def test_more_bits_bring_the_chip_nearer_to_the_bare_one() -> None:
    network = network_of("dense")
    samples = network.references.block(fit_indices(network.references)[:8]).inputs

    def answers(periphery: AnalogPeriphery | None) -> np.ndarray[Any, Any]:
        nothing = no_factors(network.layers)
        return chip_of(network, periphery).run(samples, nothing, {}).answers

    bare = answers(None)
    off = [
        float(np.linalg.norm(answers(replace(AnalogPeriphery(), adc_bits=bits)) - bare))
        for bits in (4, 6, 8, 12)
    ]
    assert off[0] > off[1] > off[2] > off[3]
    assert off[2] < 0.1 * np.linalg.norm(bare)
