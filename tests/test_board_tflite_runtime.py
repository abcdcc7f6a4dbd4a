"""The runtime tflite on files written by hand: what it shows is what the integers say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import BundleError, RuntimeUnavailableError
from agent.gathering import planned
from agent.methods import resolve
from agent.runtimes.base import can_probe, can_train
from agent.runtimes.cim import CimRuntime
from agent.runtimes.tflite import MODELS, TfliteRuntime
from agent.runtimes.tflite_plan import (
    FILE_NAME,
    MODEL_NAME,
    TAPS_NAME,
    decode_plan,
    encode_plan,
    probe_name,
)
from calib.budget import Budget
from calib.factors import Factors, Surrogate, no_factors
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from device_models.presets import preset
from tests.board_bundles import BUNDLES, CAPACITIES, SMALL, package_in
from tests.onnx_runtimes import all_positions, relative
from tests.small_networks import samples_for

COUNT = 20
X = samples_for(SMALL, COUNT, seed=5)


def on_both(folder: Path, name: str) -> tuple[PackedNetwork, TfliteRuntime, CimRuntime]:
    """A packed network on TFLite, and on a chip that computes what the codes say."""
    package = package_in(folder, name)
    network = package.network
    chip = CimRuntime(network, Chip(preset("ideal"), 0), State(), np.random.default_rng(0))
    return network, TfliteRuntime(network, package.files), chip


def some_factors(network: PackedNetwork, rank: int = 4, size: float = 0.1) -> Factors:
    """Factors that change every layer, of this rank where there is room for it."""
    generator = np.random.default_rng(rank)

    def drawn(*shape: int) -> Any:
        return (size * generator.standard_normal(shape)).astype(np.float32)

    found = {}
    for layer in network.layers:
        room = min(rank, CAPACITIES[layer.name])
        found[layer.name] = Surrogate(
            gain=1 + drawn(layer.outputs),
            offset=drawn(layer.outputs),
            a=drawn(room, layer.inputs),
            b=drawn(layer.outputs, room),
        )
    return Factors(found)


@pytest.mark.parametrize("name", ["int8", "int4-stored"])
def test_it_is_an_ideal_chip_but_for_the_rounding_of_outputs(
    name: str, board_bundles: Path
) -> None:
    network, runtime, chip = on_both(board_bundles, name)
    taps = all_positions(network, COUNT)
    for factors in (no_factors(network.layers), some_factors(network, 2), some_factors(network, 0)):
        found, wanted = runtime.run(X, factors, taps), chip.run(X, factors, taps)
        assert relative(found.answers, wanted.answers) < 0.1
        np.testing.assert_array_equal(runtime.run(X, factors, {}).answers, found.answers)
        for layer, seen in wanted.layers.items():
            for part in ("rows", "main", "outputs"):
                there, here = getattr(seen, part), getattr(found.layers[layer], part)
                assert here.shape == there.shape
                assert here.dtype == np.float32
                assert relative(here, there) < 0.1, (layer, part)


def test_main_has_no_gain_and_no_offset_in_it(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    first = network.layers[0].name
    taps = all_positions(network, COUNT)
    one = runtime.run(X, no_factors(network.layers), taps).layers[first]
    other = runtime.run(X, some_factors(network), taps).layers[first]
    np.testing.assert_array_equal(one.main, other.main)
    np.testing.assert_array_equal(one.rows, other.rows)
    assert relative(one.outputs, other.outputs) > 0.05


def test_only_the_layers_that_are_tapped_are_shown(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    positions = np.array([[3, 0], [5, 5]])
    trace = runtime.run(X[:2], some_factors(network), {"strided": positions})
    everything = runtime.run(X[:2], some_factors(network), all_positions(network, 2))
    assert list(trace.layers) == ["strided"]
    for part in ("rows", "main", "outputs"):
        some = getattr(trace.layers["strided"], part)
        all_of_them = getattr(everything.layers["strided"], part)
        np.testing.assert_array_equal(some, all_of_them[np.arange(2)[:, None], positions])


@pytest.mark.parametrize("name", BUNDLES)
def test_looking_changes_no_bit_of_the_answer(name: str, board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, name)
    for factors in (no_factors(network.layers), some_factors(network)):
        answers = runtime.run(X[:4], factors, {}).answers
        looking = runtime._model(factors, tapped=True)
        for sample, answer in zip(X, answers, strict=False):
            first = next(iter(looking.run(sample[None]).values()))
            np.testing.assert_array_equal(first[0], answer)


@pytest.mark.parametrize("rows", [(3, 5), (1,), (16,), (2, 3, 4)])
def test_a_layer_driven_alone_is_its_own_nominal_self(
    rows: tuple[int, ...], board_bundles: Path
) -> None:
    network, runtime, chip = on_both(board_bundles, "int8")
    assert can_probe(runtime)
    clean = chip.run(X, no_factors(network.layers), all_positions(network, COUNT))
    for layer in network.layers:
        flat = clean.layers[layer.name].rows.reshape(-1, layer.groups, layer.inputs)
        some = flat[np.arange(np.prod(rows)) % len(flat)].reshape(*rows, *flat.shape[1:])
        found, wanted = runtime.probe(layer, some), chip.probe(layer, some)
        assert found.shape == (*rows, layer.outputs)
        assert relative(found, wanted) < 0.03, layer.name


def test_a_branch_that_is_not_full_is_filled_with_zeros(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    small = some_factors(network, 2)
    full = {}
    for name, one in small.surrogates.items():
        missing = CAPACITIES[name] - one.rank
        full[name] = replace(
            one,
            a=np.vstack([one.a, np.zeros((missing, one.a.shape[1]), np.float32)]),
            b=np.hstack([one.b, np.zeros((len(one.b), missing), np.float32)]),
        )
    there = runtime.run(X, Factors(full), {}).answers
    np.testing.assert_array_equal(runtime.run(X, small, {}).answers, there)
    plain = runtime.run(X, no_factors(network.layers), {}).answers
    gains = {name: replace(one, a=0 * one.a, b=0 * one.b) for name, one in small.surrogates.items()}
    ones = {
        name: replace(one, gain=np.ones_like(one.gain), offset=np.zeros_like(one.offset))
        for name, one in gains.items()
    }
    np.testing.assert_array_equal(runtime.run(X, Factors(ones), {}).answers, plain)


def test_more_rank_than_a_branch_has_is_refused(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    assert runtime.largest_ranks == CAPACITIES
    for name, capacity in CAPACITIES.items():
        layer = next(one for one in network.layers if one.name == name)
        rank = capacity + 1
        a = np.ones((rank * layer.groups, layer.inputs), np.float32)
        large = Surrogate(
            np.ones(layer.outputs, np.float32),
            np.zeros(layer.outputs, np.float32),
            a,
            np.ones((layer.outputs, rank), np.float32),
        )
        factors = no_factors(network.layers).replaced(name, large)
        with pytest.raises(RuntimeUnavailableError, match=f"rank {rank}, .* for {capacity}; cali"):
            runtime.run(X, factors, {})


def test_the_plan_of_a_calibration_stays_within_the_branches(board_bundles: Path) -> None:
    network, runtime, chip = on_both(board_bundles, "int4-stored")
    chosen, budget = np.arange(16, 48), Budget(rank=32)
    free = planned(chip, network, chosen, budget)
    held = planned(runtime, network, chosen, budget)
    assert any(len(free.bits[name]) > rank for name, rank in CAPACITIES.items())
    for name, rank in CAPACITIES.items():
        assert not rank or len(held.bits[name]) <= rank  # without a branch, the weights have room
    assert any(held.bits.values())


@pytest.mark.parametrize("gain", [-0.5, 0.0, 1e-12, -1e-6])
def test_any_gain_lies_in_scales_and_codes(gain: float, board_bundles: Path) -> None:
    network, runtime, chip = on_both(board_bundles, "int8")
    plain = no_factors(network.layers)
    for layer in network.layers:
        gains = np.where(np.arange(layer.outputs) % 2, gain, 1).astype(np.float32)
        offsets = np.full(layer.outputs, 0.25, np.float32)
        one = replace(plain[layer.name], gain=gains, offset=offsets)
        factors = plain.replaced(layer.name, one)
        taps = {layer.name: np.tile(np.arange(layer.positions), (COUNT, 1))}
        found, wanted = (it.run(X, factors, taps).layers[layer.name] for it in (runtime, chip))
        assert relative(found.outputs, wanted.outputs) < 0.03


def test_a_model_of_its_own_shares_nothing(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    old, new = no_factors(network.layers), some_factors(network)
    before = runtime.run(X, old, {}).answers
    beside = runtime.loaded(new)
    first = beside(X)
    kept = first.copy()
    np.testing.assert_array_equal(runtime.run(X, old, {}).answers, before)
    assert relative(first, before) > 1e-3
    runtime.close()
    beside(X[::-1])
    np.testing.assert_array_equal(first, kept)  # no view of the interpreter's memory
    np.testing.assert_array_equal(beside(X), kept)
    np.testing.assert_array_equal(runtime.run(X, new, {}).answers, kept)


def test_threads_that_share_a_model_get_their_own_answers(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    factors = some_factors(network)
    wanted = runtime.run(X, factors, {}).answers
    answer = runtime.loaded(factors)
    with ThreadPoolExecutor(4) as threads:
        orders = [np.roll(np.arange(COUNT), shift) for shift in range(40)]
        for order, found in zip(orders, threads.map(lambda o: answer(X[o]), orders), strict=True):
            np.testing.assert_array_equal(found, wanted[order])


def test_other_factors_are_loaded_and_the_same_are_not_loaded_again(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    one = some_factors(network)
    model = runtime._model(one, tapped=False)
    assert runtime._model(one, tapped=False) is model
    assert runtime._model(one, tapped=True) is not model
    for _ in range(2 * MODELS):
        runtime.run(X[:1], some_factors(network, 1), {})
    assert len(runtime._loaded) == MODELS
    runtime.close()
    assert not runtime._loaded


def test_training_through_it_is_refused_and_names_what_works(board_bundles: Path) -> None:
    network, runtime, _ = on_both(board_bundles, "int8")
    assert not can_train(runtime)
    assert resolve("auto", runtime, network) == "probe"
    with pytest.raises(RuntimeUnavailableError, match="choose --method probe"):
        resolve("gradient", runtime, network)


@pytest.mark.parametrize("name", [FILE_NAME, MODEL_NAME, TAPS_NAME, probe_name(3)])
def test_a_missing_file_is_named(name: str, board_bundles: Path) -> None:
    package = package_in(board_bundles, "int8")
    files = {other: content for other, content in package.files.items() if other != name}
    with pytest.raises(BundleError, match=f"no file {name}, .* pack the model again"):
        TfliteRuntime(package.network, files)


@pytest.mark.parametrize("name", [MODEL_NAME, TAPS_NAME])
def test_a_plan_of_another_file_is_refused(name: str, board_bundles: Path) -> None:
    package = package_in(board_bundles, "int8")
    content = package.files[name]
    where = "model" if name == MODEL_NAME else "taps"
    plan = decode_plan(package.files[FILE_NAME], package.network.layers)
    weights = getattr(plan.layers["strided"], where).weights
    flipped = bytearray(content)
    flipped[weights.offset + 5] ^= 1
    with pytest.raises(BundleError, match=f"layer strided: the weights at byte .* of {name}"):
        TfliteRuntime(package.network, {**package.files, name: bytes(flipped)})
    with pytest.raises(BundleError, match=f"layer .* of {name}, which has 500; the plan"):
        TfliteRuntime(package.network, {**package.files, name: content[:500]})
    moved = replace(weights, offset=weights.offset + 4)
    places = replace(getattr(plan.layers["strided"], where), weights=moved)
    layers = {**plan.layers, "strided": replace(plan.layers["strided"], **{where: places})}
    changed = encode_plan(replace(plan, layers=layers))
    with pytest.raises(BundleError, match="layer strided: the weights at byte"):
        TfliteRuntime(package.network, {**package.files, FILE_NAME: changed})


def test_files_that_were_mixed_up_are_refused_when_they_are_loaded(board_bundles: Path) -> None:
    package = package_in(board_bundles, "int8")
    network, files = package.network, package.files
    swapped = {**files, probe_name(0): files[probe_name(3)]}
    layer = network.layers[0]
    with pytest.raises(BundleError, match=r"tflite/probe-0\.tflite takes 8 numbers, not 18; "):
        TfliteRuntime(network, swapped).probe(layer, np.zeros((1, 1, 18), np.float32))
    plan = decode_plan(files[FILE_NAME], network.layers)
    names = replace(plan.layers["head"].tap_tensors, main="elsewhere")
    layers = {**plan.layers, "head": replace(plan.layers["head"], tap_tensors=names)}
    changed = {**files, FILE_NAME: encode_plan(replace(plan, layers=layers))}
    runtime = TfliteRuntime(network, changed)
    factors = no_factors(network.layers)
    assert runtime.run(X, factors, {}).answers.shape == (COUNT, 5)
    with pytest.raises(BundleError, match=f"{TAPS_NAME} has no output elsewhere; it is of another"):
        runtime.run(X, factors, all_positions(network, COUNT))


def test_a_file_that_no_interpreter_takes_is_one_sentence(board_bundles: Path) -> None:
    package = package_in(board_bundles, "int8")
    broken = {**package.files, probe_name(0): b"nothing at all, and no flatbuffer"}
    runtime = TfliteRuntime(package.network, broken)
    layer = package.network.layers[0]
    with pytest.raises(RuntimeUnavailableError, match=r"cannot run tflite/probe-0\.tflite") as said:
        runtime.probe(layer, np.zeros((1, 1, layer.inputs), np.float32))
    assert "\n" not in str(said.value)
