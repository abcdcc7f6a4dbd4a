"""Budgets of bytes and operations: what is solved within them never takes more."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.buffer import SampleBuffer
from agent.gathering import gathered
from agent.loop import CalibrationRequest, ClosedLoop, Commit
from agent.runtimes.cim import CimRuntime
from calib.allocation import Bits
from calib.budget import Budget
from calib.costs import (
    allowed,
    budget_bytes,
    budgeted_ranks,
    left_for_branches,
    spending,
    spent,
    surrogate_share,
    uniform_rank,
)
from calib.errors import CalibError
from calib.factor_codes import encode_factors, encoded_bytes
from calib.factors import no_factors
from calib.layer_fit import Fits, plan_together
from calib.packed import PackedNetwork
from calib.precision import MIXED, TYPICAL_BITS, lost_share
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset
from tests.fakes import DeviatingRuntime
from tests.small_networks import classifier, packed

Array = np.ndarray[Any, Any]
ALLOWED = [(16,), (8,), (4,), (3,), MIXED]


@cache
def network_of(groups: int, factor_bits: tuple[int, ...] = MIXED) -> PackedNetwork:
    graph = classifier(groups=groups)
    return packed(graph, count=32, scheme="int4", rank=3, factor_bits=factor_bits)


@cache
def fits_of(groups: int, factor_bits: tuple[int, ...] = MIXED) -> Fits:
    network = network_of(groups, factor_bits)
    return dict(gathered(chip_of(network), network, fit_indices(network.references)))


def chip_of(network: PackedNetwork, device: str = "mismatch-20") -> CimRuntime:
    return CimRuntime(network, Chip(preset(device), 1), State(), np.random.default_rng(0))


class Kept:
    """A store that counts bytes."""

    def commit(self, payload: bytes) -> Commit:
        return Commit(1, len(payload))


@pytest.mark.parametrize("bits", ALLOWED)
@pytest.mark.parametrize("groups", [1, 6])
def test_the_bytes_of_factors_are_what_they_are_encoded_to(
    groups: int, bits: tuple[int, ...]
) -> None:
    network = network_of(groups, bits)
    plan = plan_together(network, fits_of(groups, bits), Budget(rank=2))
    payload = encode_factors(plan.factors(), network.layers)
    assert encoded_bytes(network.layers, plan.bits) == len(payload)
    assert spent(network.layers, plan.bits).bytes == len(payload)


@settings(max_examples=60)
@given(
    size=st.integers(600, 4000),
    share=st.floats(0.06, 2.0),
    groups=st.sampled_from([1, 6]),
    bits=st.sampled_from(ALLOWED),
    which=st.sampled_from(["bytes", "macs", "both"]),
)
def test_factors_never_take_more_than_either_budget(
    size: int, share: float, groups: int, bits: tuple[int, ...], which: str
) -> None:
    network = network_of(groups, bits)
    budget = Budget(
        bytes=size if which != "macs" else None, mac_share=share if which != "bytes" else None
    )
    plan = plan_together(network, fits_of(groups, bits), budget)
    factors = plan.factors()
    assert {name: one.bits for name, one in factors.surrogates.items()} == plan.bits
    assert {one for chosen in plan.bits.values() for one in chosen} <= set(bits)
    ranks = {name: one.rank for name, one in factors.surrogates.items()}
    assert ranks == {name: len(chosen) for name, chosen in plan.bits.items()}
    if budget.bytes is not None:
        assert len(encode_factors(factors, network.layers)) <= size
    if budget.mac_share is not None:
        assert surrogate_share(network.layers, ranks) <= share * (1 + 1e-12)


def test_the_shares_in_the_document_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "budget.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (\d+) \| ([\d.]+) % \|$", text, re.MULTILINE)
    assert {int(bits) for bits, _ in table} == set(MIXED)
    for bits, percent in table:
        assert f"{100 * lost_share(int(bits)):.2g}" == percent


def left_open(worth: Array, bits: Bits) -> float:
    """What components take away at best, less what those that were bought do."""
    kept = sum(one * (1 - lost_share(own)) for one, own in zip(worth, bits, strict=False))
    return float(worth.sum() - kept)


@pytest.mark.parametrize("kind", ["bytes", "mac_share"])
def test_a_larger_budget_is_worth_more_and_reaches_more(kind: str) -> None:
    network, fits = network_of(1), fits_of(1)
    limits = {"bytes": (650, 900, 1300, 2000, 4000), "mac_share": (0.1, 0.2, 0.4, 0.8, 2.0)}[kind]
    errors = []
    for limit in limits:
        plan = plan_together(network, fits, Budget(**{kind: limit}))  # type: ignore[arg-type]  # one of two
        errors.append(
            sum(left_open(one.worth, plan.bits[name]) for name, one in plan.solved.items())
        )
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_a_rank_stands_for_its_bytes_with_16_bit_factors() -> None:
    network = network_of(1)
    bare = spent(network.layers, {layer.name: () for layer in network.layers})
    expected = bare.bytes + sum(5 * 2 * (layer.inputs + layer.outputs) for layer in network.layers)
    limits = allowed(Budget(rank=5), network.layers)
    assert (limits.bytes, limits.macs) == (expected, math.inf)
    left = left_for_branches(Budget(rank=5), network.layers)
    assert uniform_rank(left, network.layers) == 5
    assert sum(budget_bytes(layer, 5) for layer in network.layers) == left.bytes


def test_the_uniform_guess_stays_within_the_budget() -> None:
    network = network_of(6)
    for budget in (Budget(rank=2), Budget(bytes=700), Budget(rank=8, mac_share=0.3)):
        told = replace(
            network,
            rank=budget.rank or 0,
            budget_bytes=budget.bytes,
            budget_mac_share=budget.mac_share,
        )
        ranks = budgeted_ranks(told)
        assert ranks["depthwise"] == 0
        assert max(ranks.values()) > 0
        bits = {name: (TYPICAL_BITS,) * rank for name, rank in ranks.items()}
        found = spending(budget, network.layers, bits)
        assert found.bytes <= found.bytes_allowed
        assert found.mac_share <= found.mac_share_allowed


def test_a_budget_stands_over_another_limit_by_limit() -> None:
    packed_with = Budget(rank=8, mac_share=0.5)
    assert Budget().over(packed_with) == packed_with
    assert Budget(rank=2).over(packed_with) == Budget(rank=2, mac_share=0.5)
    assert Budget(bytes=900).over(packed_with) == Budget(bytes=900, mac_share=0.5)
    assert Budget(mac_share=0.1).over(Budget(bytes=7)) == Budget(bytes=7, mac_share=0.1)


@pytest.mark.parametrize(
    "limits", [{"rank": -1}, {"bytes": -5}, {"mac_share": math.nan}, {"mac_share": math.inf}]
)
def test_what_is_no_limit_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(CalibError, match="give a number from 0 on"):
        Budget(**limits)  # type: ignore[arg-type]  # as a caller might


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"bytes": 100}, r"gains and offsets alone take \d+ bytes, .* raise --budget-bytes"),
        ({"mac_share": 0.001}, r"gains alone take 0.0\d+ of .* raise --budget-mac-share"),
    ],
)
def test_a_budget_below_gains_and_offsets_is_refused_with_the_least(
    limits: dict[str, float], words: str
) -> None:
    with pytest.raises(CalibError, match=words):
        left_for_branches(Budget(**limits), network_of(1).layers)  # type: ignore[arg-type]
    names = {"bytes": "surrogate_bytes", "mac_share": "surrogate_mac_share"}
    with pytest.raises(CalibError, match=words):
        packed(classifier(), **{names[name]: limit for name, limit in limits.items()})


def test_rank_zero_leaves_gain_and_offset_that_are_best_alone() -> None:
    network, fits = network_of(1), fits_of(1)
    for name, surrogate in (
        plan_together(network, fits, Budget(rank=0)).factors().surrogates.items()
    ):
        assert surrogate.rank == 0, name
        assert not np.array_equal(surrogate.gain, np.ones_like(surrogate.gain))


@pytest.mark.parametrize("probing", [True, False])
@pytest.mark.parametrize("budget", [Budget(bytes=900), Budget(mac_share=0.3)])
def test_every_method_keeps_the_budget_and_says_what_it_took(
    budget: Budget, *, probing: bool
) -> None:
    network = network_of(1)
    runtime = (
        chip_of(network) if probing else DeviatingRuntime(network, 0.2, np.random.default_rng(0))
    )
    loop = ClosedLoop(
        network,
        runtime,
        no_factors(network.layers),
        SampleBuffer(),
        lambda: 0.0,
        np.random.default_rng(0),
    )
    for method in ("auto", "sequential"):
        request = CalibrationRequest(samples=16, budget=budget, method=method, dry_run=True)
        found = loop.calibrate(request, Kept())
        used = found.spending
        payload = encode_factors(found.factors, network.layers)
        assert used.bytes == len(payload)
        assert used.bytes <= used.bytes_allowed
        assert used.mac_share <= used.mac_share_allowed
        assert max(one.rank for one in found.factors.surrogates.values()) > 0
