"""The scheme `channelwise` from `pack` to the chip: levels, bundle, main path, energy, commands."""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.program import run as run_program
from agent.energy import network_energy
from agent.errors import BundleError, RuntimeUnavailableError
from agent.life.damage import with_dead_columns
from agent.life.scenario import DeadColumn
from agent.runtimes.cim import CimRuntime
from agent.runtimes.open import runtime_of as open_runtime
from agent.store.bundle import bundle_bytes, open_bundle
from agent.store.package import Package, package_bytes, read_package, to_parts
from calib.costs import effective_bit_operations, network_bits_mean, weight_bytes
from calib.errors import CalibError
from calib.factors import no_factors
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from calib.graph.model import Graph
from calib.importers.onnx_export import write_onnx
from calib.layer_fit import LayerFit
from calib.packed import PackedNetwork
from calib.schemes.mixed_bytes import mixed_bytes
from device_models.array import Chip, State
from device_models.contract import DeviceModel
from device_models.energy.constants import EnergyConstants
from device_models.presets import preset, preset_names
from device_models.sram.bitplane import BitPlaneSram
from tests import agent_stores
from tests.small_networks import chain, classifier, packed, samples_for, signal_network

Array = np.ndarray[Any, Any]
GRAPHS = {
    "classifier": classifier(),
    "grouped": classifier(groups=2),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
}
EVERY_GRAPH = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
LEVELS = (1, 2, 4)
LOSSLESS = BitPlaneSram(
    rows=15,
    adc_bits=4,
    cell_sigma=0.001,
    column_gain_sigma=0.0,
    column_offset_counts=0.0,
    read_noise_counts=0.0,
)
"""A converter whose steps are single counts, and cells too good to move a sum by half of one."""


def levelled(graph: Graph, bits_mean: float = 2.5, **options: Any) -> PackedNetwork:
    chosen = {"levels": LEVELS, **options}
    return packed(graph, scheme="channelwise", bits_mean=bits_mean, **chosen)


def runtime_of(network: PackedNetwork, model: DeviceModel, seed: int = 3) -> CimRuntime:
    return CimRuntime(network, Chip(model, seed), State(), np.random.default_rng(0))


def oracle(network: PackedNetwork) -> dict[str, Replacement]:
    """Rounded inputs times nominal weights, in the layer's own order of channels."""

    def of(layer: LinearLayer) -> Replacement:
        def replacement(x: Array) -> Array:
            rows = network.mixed[layer.name].rounded(layer.rows(x))
            return layer.tensor(multiply(rows, layer.weight) + layer.bias)

        return replacement

    return {layer.name: of(layer) for layer in network.layers}


@EVERY_GRAPH
@pytest.mark.parametrize(
    ("levels", "bits_mean"), [((1, 2, 4), 2.5), ((2, 4, 8), 4.0), ((3,), 3.0), ((1,), 1.0)]
)
def test_an_ideal_chip_is_the_nominal_network(
    graph: Graph, levels: tuple[int, ...], bits_mean: float
) -> None:
    network = levelled(graph, bits_mean, levels=levels)
    x = samples_for(graph, 5, seed=9)
    found = runtime_of(network, preset("ideal")).run(x, no_factors(network.layers), {})
    cut = network.decision_graph
    expected = run(cut, x, replace=oracle(network))[cut.output]
    np.testing.assert_allclose(found.answers, expected, atol=1e-5 * np.abs(expected).max())


@EVERY_GRAPH
def test_bit_planes_without_error_give_the_same(graph: Graph) -> None:
    network = levelled(graph, 3.0, levels=(1, 3, 6))
    x = samples_for(graph, 4, seed=9)
    answers = [
        runtime_of(network, model).run(x, no_factors(network.layers), {}).answers
        for model in (preset("ideal"), LOSSLESS)
    ]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-5 * np.abs(answers[0]).max())


@EVERY_GRAPH
def test_driving_a_layer_alone_gives_what_a_run_gives(graph: Graph) -> None:
    network = levelled(graph)
    runtime = runtime_of(network, preset("mismatch-10"))
    taps = {la.name: np.tile(np.arange(la.positions), (3, 1)) for la in network.layers}
    x = samples_for(graph, 3)
    trace = runtime.run(x, no_factors(network.layers), taps)
    for layer in network.layers:
        seen = trace.layers[layer.name]
        found = runtime.probe(layer, seen.rows)
        np.testing.assert_allclose(found, seen.main, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*sorted(set(preset_names()) - {"mismatch-N"}), "mismatch-10"])
def test_every_chip_takes_levels_of_one_bit_too(name: str) -> None:
    network = levelled(classifier(), 2.0, levels=(1, 4))
    x = samples_for(network.graph, 4)
    chip = Chip(preset(name), 3)
    found, ideal = (
        CimRuntime(network, one, State(), np.random.default_rng(0))
        .run(x, no_factors(network.layers), {})
        .answers
        for one in (chip, Chip(preset("ideal"), 3))
    )
    assert np.linalg.norm(found - ideal) < 0.7 * np.linalg.norm(ideal)


@EVERY_GRAPH
@pytest.mark.parametrize("bits_mean", [1.0, 1.7, 2.5, 4.0])
def test_the_budget_is_kept(graph: Graph, bits_mean: float) -> None:
    network = levelled(graph, bits_mean)
    assert network_bits_mean(network) <= bits_mean + 1e-6
    for layer in network.layers:
        mixed = network.mixed[layer.name]
        assert mixed.weights == layer.weight.size
        assert {level.bits for level in mixed.levels} <= set(LEVELS)


def test_more_bits_answer_more_like_the_float_network() -> None:
    graph = classifier(groups=1)
    x = samples_for(graph, 32, seed=5)
    clean = run(graph, x)[graph.output]
    errors = []
    for bits_mean in (1.0, 2.0, 4.0, 8.0):
        network = levelled(graph, bits_mean, levels=(1, 4, 8))
        runtime = runtime_of(network, preset("ideal"))
        logits = runtime.run(x, no_factors(network.layers), {}).answers
        found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        errors.append(float(np.linalg.norm(found - clean) / np.linalg.norm(clean)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


def test_channels_of_a_level_stand_together_where_the_layer_before_can_be_permuted() -> None:
    network = levelled(classifier(groups=1), 2.5)
    mixed = network.mixed["strided"]
    assert len(mixed.levels) > 1
    assert (np.diff(mixed.level_of.astype(int)) >= 0).all()


def test_held_back_samples_have_no_part_in_codes() -> None:
    from calib.prepare import PackOptions, prepare  # noqa: PLC0415  # beside its use

    graph, options = (
        classifier(),
        PackOptions(scheme="channelwise", levels=LEVELS, bits_mean=2.5, held_back=6, references=18),
    )
    x = samples_for(graph, 24)
    other = np.concatenate([-x[:6], x[6:]])
    networks = [prepare(graph, samples, None, options) for samples in (x, other)]
    for name in networks[0].mixed:
        one, two = (mixed_bytes(network.mixed[name]) for network in networks)
        assert one == two


def test_fewer_bits_take_fewer_conversions_and_bytes() -> None:
    """Where a channel fills the rows of an array: each level takes row tiles of its own."""
    graph, model = classifier(groups=1), replace(preset("sram-bitplane"), rows=9)
    networks = [
        levelled(graph, 4.0, levels=(4,)),
        levelled(graph, 2.5, levels=(1, 2, 4)),
        levelled(graph, 1.0, levels=(1,)),
    ]
    for figure in (
        lambda n: network_energy(n, _no_ranks(n), model, EnergyConstants()).uses.conversions,
        lambda n: network_energy(n, _no_ranks(n), model, EnergyConstants()).energy.total_pj,
        lambda n: sum(weight_bytes(n, layer) for layer in n.layers),
        effective_bit_operations,
    ):
        figures = [figure(network) for network in networks]
        assert figures == sorted(figures, reverse=True)
        assert len(set(figures)) == 3


def _no_ranks(network: PackedNetwork) -> dict[str, int]:
    return {layer.name: 0 for layer in network.layers}


def test_reads_are_planes_times_slices_of_each_level() -> None:
    """Four bits uniform: as many reads as int4 weights with 4-bit activations."""
    graph, model = classifier(groups=1), preset("sram-bitplane")
    network = levelled(graph, 4.0, levels=(4,))
    uniform = packed(graph, scheme="int4", activation_bits=4)
    uses = [
        network_energy(n, _no_ranks(n), model, EnergyConstants()).uses for n in (network, uniform)
    ]
    assert uses[0] == uses[1]
    assert effective_bit_operations(network) == effective_bit_operations(uniform)


@EVERY_GRAPH
@pytest.mark.parametrize("form", ["stored", "recomputed", "moments"])
def test_what_is_loaded_is_what_was_packed(graph: Graph, form: str) -> None:
    network = levelled(graph, references_as=form)
    data = package_bytes(Package(network, "small", "cim"))
    found = read_package(open_bundle(data)).network
    assert package_bytes(Package(found, "small", "cim")) == data
    x = samples_for(graph, 4)
    answers = [
        runtime_of(n, preset("mismatch-10")).run(x, no_factors(n.layers), {}).answers
        for n in (network, found)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])


PARTS = to_parts(Package(levelled(classifier(), references_as="stored"), "small", "cim"))
LEVELLED = range(len(PARTS[0]["layers"]))


def changed(layer: int, key: str, value: object) -> Any:
    document = copy.deepcopy(PARTS[0])
    document["layers"][layer]["levels"][0][key] = value
    return open_bundle(bundle_bytes(document, PARTS[1], {}), name="changed.npp")


@settings(max_examples=80)
@given(
    layer=st.sampled_from(LEVELLED),
    key=st.sampled_from(["bits", "zero_point", "scale_exponent", "step_exponent"]),
    value=st.one_of(st.none(), st.integers(-3, 400), st.text(max_size=3), st.floats(-2, 2)),
)
def test_a_changed_level_loads_or_is_one_sentence(layer: int, key: str, value: object) -> None:
    with contextlib.suppress(BundleError):
        read_package(changed(layer, key, value))


def test_bytes_that_are_cut_or_missing_are_refused() -> None:
    for arrays in (
        {**PARTS[1], "levels/0": PARTS[1]["levels/0"][:-1]},
        {**PARTS[1], "levels/0": PARTS[1]["levels/0"][:2]},
        {name: array for name, array in PARTS[1].items() if name != "levels/0"},
    ):
        bundle = open_bundle(bundle_bytes(PARTS[0], arrays, {}))
        with pytest.raises(BundleError, match=r"its levels take|for a constant of shape"):
            read_package(bundle)


def test_a_layer_without_levels_among_others_is_refused() -> None:
    document = copy.deepcopy(PARTS[0])
    del document["layers"][1]["levels"]
    arrays = {**PARTS[1], "float16/1": np.zeros((6, 9, 1), np.float16)}
    with pytest.raises(BundleError, match="has no levels and others have"):
        read_package(open_bundle(bundle_bytes(document, arrays, {})))


@pytest.mark.parametrize("runtime", ["onnxruntime", "tflite"])
def test_a_bundle_whose_runtime_has_no_such_kernels_is_refused(
    runtime: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = Package(levelled(classifier()), "small", runtime)
    (tmp_path / "small.npp").write_bytes(package_bytes(package))
    store = ("--store", str(tmp_path / "store"))
    assert run_program(["install", str(tmp_path / "small.npp"), *store]) == 1
    assert "pack the model with --runtime cim" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(RuntimeUnavailableError, match="channels that differ in bits"):
        open_runtime(package, Chip(preset("ideal"), 0), State(), np.random.default_rng(0))


@EVERY_GRAPH
def test_clipping_is_seen_in_the_codes_of_each_channel(graph: Graph) -> None:
    network = levelled(graph)
    for layer in network.layers:
        low, high = network.mixed[layer.name].limits
        within = np.random.default_rng(0).uniform(low, high, (20, len(low))).astype(np.float32)
        beyond = within.copy()
        beyond[:, 0] = 3 * high[0]
        for rows, clipped in ((within, False), (beyond, True)):
            fit = LayerFit.of(network, layer, exact=False)
            outputs = np.zeros((len(rows), layer.outputs), np.float32)
            fit.add(rows, outputs, outputs)
            lost = rows - np.clip(rows, low, high)
            assert fit.clipping.lost == pytest.approx(float((lost**2).sum()))
            assert fit.clipping.matters == clipped


@pytest.mark.parametrize("levels", [(4, 8), (1, 4)])
@EVERY_GRAPH
def test_a_dead_column_gives_nothing_in_any_level(graph: Graph, levels: tuple[int, ...]) -> None:
    """But for the half that is added to codes of few bits in digital."""
    network = levelled(graph, 4.0, levels=levels)
    layer = network.layers[1]
    column = layer.outputs - 1
    damaged = with_dead_columns(network, [DeadColumn(0.0, layer.name, column)])
    rows = samples_for(graph, 6)
    taps = {layer.name: np.tile(np.arange(layer.positions), (6, 1))}
    well, ill = (
        runtime_of(one, preset("ideal")).run(rows, no_factors(one.layers), taps).layers[layer.name]
        for one in (network, damaged)
    )
    np.testing.assert_array_equal(ill.main[..., :column], well.main[..., :column])
    group = column // (layer.outputs // layer.groups)
    mixed, expected = network.mixed[layer.name], layer.bias[column]
    for level in mixed.levels:
        codes = level.encode_rows(ill.rows, mixed.taps)[..., group, :].astype(float)
        half = level.centre * level.scales[group, -1]
        expected = expected + half * (codes - level.zero_point).sum(axis=-1)
    wanted = np.broadcast_to(expected, ill.main.shape[:-1])
    np.testing.assert_allclose(ill.main[..., column], wanted, rtol=1e-4, atol=1e-5)


def test_a_budget_that_cannot_be_met_says_the_smallest_possible() -> None:
    with pytest.raises(CalibError, match="smallest possible is 2"):
        levelled(classifier(), 1.5, levels=(2, 4))


@pytest.fixture
def model(tmp_path: Path) -> list[str]:
    """The arguments that name a model and its samples."""
    write_onnx(agent_stores.GRAPH, tmp_path / "small.onnx")
    x, y = agent_stores.labelled(agent_stores.SAMPLES, 1)
    np.savez(tmp_path / "small.npz", x=x, y=y)
    return [str(tmp_path / "small.onnx"), "--samples", str(tmp_path / "small.npz")]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run_program([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_commands_pack_show_and_recalibrate_it(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, store = str(tmp_path / "small.npp"), ("--store", str(tmp_path / "store"))
    scheme = ("--scheme", "channelwise", "--levels", "1,2,4", "--bits", "2.5")
    packing = said(capsys, "pack", *model, "--out", bundle, *scheme)
    assert packing["bits_mean"] <= 2.5
    assert packing["activation_bits"] is None
    shown = said(capsys, "inspect", bundle)
    for layer in shown["layers"]:
        channels = sum(level["channels"] for level in layer["levels"])
        assert channels == layer["groups"] * layer["inputs"] // (
            np.prod(layer["kernel"]) if layer["kernel"] else 1
        )
    assert shown["parts"]["levels"] >= sum(layer["bytes"] for layer in shown["layers"])
    assert run_program(["inspect", bundle]) == 0
    assert "channels x bits" in capsys.readouterr().out
    said(capsys, "install", bundle, "--chip", "mismatch-20", *store)
    assert said(capsys, "calibrate", *store)["accepted"]
    assert said(capsys, "status", *store)["activation_bits"] is None


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--scheme", "int8", "--bits", "3"), 2, "belong to --scheme channelwise"),
        (("--levels", "2,4"), 2, "belong to --scheme channelwise"),
        (("--scheme", "channelwise", "--levels", "1,2,3,4"), 2, "give one to 3"),
        (("--scheme", "channelwise", "--levels", "2,9"), 2, "9 is out of range"),
        (("--scheme", "channelwise", "--levels", "two"), 2, "is no list of bits"),
        (("--scheme", "channelwise", "--bits", "nan"), 2, "not a finite number"),
        (("--scheme", "channelwise", "--activation-bits", "8"), 2, "leave out --activation-bits"),
        (("--scheme", "channelwise", "--bits", "1.5"), 1, "the smallest possible is 2"),
        (("--scheme", "channelwise", "--runtime", "onnxruntime"), 1, "pack with --runtime cim"),
        (("--scheme", "channelwise", "--runtime", "tflite"), 1, "pack with --runtime cim"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    options: tuple[str, ...],
    code: int,
    sentence: str,
    model: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "never.npp"
    assert run_program(["pack", *model, "--out", str(out), *options]) == code
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
