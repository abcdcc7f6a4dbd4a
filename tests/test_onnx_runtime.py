"""The main path on onnxruntime, held against NumPy: integers, surrogates, taps, single layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from agent.errors import RuntimeUnavailableError
from agent.methods import resolve
from agent.runtimes.base import can_probe, can_train
from agent.runtimes.onnx_bytes import onnx_model
from agent.runtimes.onnx_session import OnnxSession, imported
from agent.runtimes.onnxruntime import SESSIONS, OnnxRuntime
from calib.factors import Factors, no_factors
from calib.graph.executor import Replacement, run
from calib.graph.linear import LinearLayer, multiply
from calib.graph.model import Graph, Node, Port
from calib.integer_graph import integer_graph
from calib.integer_weights import integer_weights
from calib.packed import PackedNetwork
from tests.onnx_runtimes import all_positions, on_both, relative, residual, sequences, some_factors
from tests.small_networks import chain, classifier, samples_for, signal_network

NETWORKS = {
    "depthwise": classifier(),
    "grouped": classifier(groups=2),
    "residual": residual(),
    "signal": signal_network(),
    "chain": chain(3, relu=True),
    "sequences": sequences(),
}
SCHEMES = ("int8", "int4", "int4-tensor", "nf4")
COUNT = 20


def rounded_everywhere(
    network: PackedNetwork, runtime: OnnxRuntime, factors: Factors, x: np.ndarray
) -> np.ndarray:
    """The integer network in NumPy: whole numbers, one rounding of each convolution's output."""

    def replacement(layer: LinearLayer) -> Replacement:
        code, weights = network.activations[layer.name], network.weights[layer.name]
        surrogate = factors[layer.name]

        def computed(given: np.ndarray) -> np.ndarray:
            levels = code.encode(layer.rows(given)).astype(np.int64) - code.zero_point
            sums = multiply(levels, weights.codes.astype(np.int64))
            unit = weights.scales.reshape(-1).astype(np.float64) * code.step
            unit *= surrogate.gain  # biases are whole numbers of these
            shift = layer.bias * surrogate.gain + surrogate.offset
            main = (sums + np.rint(shift / unit)) * unit
            if layer.window is not None:
                outputs = runtime._outputs[layer.name]
                main = outputs.decode(outputs.encode(main))
            plain = replace(
                surrogate,
                gain=np.ones_like(surrogate.gain),
                offset=np.zeros_like(surrogate.offset),
            )
            return layer.tensor(plain.apply(main.astype(np.float32), layer.rows(given)))

        return computed

    graph = network.decision_graph
    replaced = {layer.name: replacement(layer) for layer in network.layers}
    return np.asarray(run(graph, x, replace=replaced)[graph.output])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", ["int8", "int4", "int4-tensor"])
@pytest.mark.parametrize("bits", [8, 5])
def test_answers_are_those_of_the_integer_network(name: str, scheme: str, bits: int) -> None:
    graph = NETWORKS[name]
    network, runtime, _ = on_both(graph, scheme=scheme, activation_bits=bits)
    x = samples_for(graph, COUNT, seed=5)
    for factors in (some_factors(network, 2), some_factors(network, 0)):
        with np.errstate(under="ignore"):
            wanted = rounded_everywhere(network, runtime, factors, x)
        last = runtime.run(x, factors, all_positions(network, COUNT)).layers[
            network.layers[-1].name
        ]
        found = last.outputs.reshape(wanted.shape)
        # A value halfway between two codes may go either way: that sample differs by a step or two.
        each = [relative(a, b) for a, b in zip(found, wanted, strict=True)]
        assert np.median(each) < (2e-3 if bits == 8 else 2e-2), each
        assert max(each) < (0.05 if bits == 8 else 0.3), each


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_is_an_ideal_chip_but_for_the_rounding_of_outputs(name: str, scheme: str) -> None:
    graph = NETWORKS[name]
    network, runtime, chip = on_both(graph, scheme=scheme)
    x, taps = samples_for(graph, COUNT, seed=5), all_positions(network, COUNT)
    for factors in (no_factors(network.layers), some_factors(network, 2), some_factors(network, 0)):
        found, wanted = runtime.run(x, factors, taps), chip.run(x, factors, taps)
        limit = 1e-5 if scheme == "nf4" else 0.1
        assert relative(found.answers, wanted.answers) < limit
        assert relative(runtime.run(x, factors, {}).answers, wanted.answers) < limit
        for layer, seen in wanted.layers.items():
            for part in ("rows", "main", "outputs"):
                there, here = getattr(seen, part), getattr(found.layers[layer], part)
                assert here.shape == there.shape
                assert relative(here, there) < limit, (layer, part)
        first = network.layers[0].name
        np.testing.assert_array_equal(found.layers[first].rows, wanted.layers[first].rows)
        assert relative(found.layers[first].main, wanted.layers[first].main) < 1e-6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bits", [8, 4])
def test_a_layer_driven_alone_is_exact(name: str, scheme: str, bits: int) -> None:
    network, runtime, chip = on_both(NETWORKS[name], scheme=scheme, activation_bits=bits)
    assert can_probe(runtime)
    generator = np.random.default_rng(1)
    for layer in network.layers:
        shape = (4, 3, layer.groups, layer.inputs)
        rows = generator.standard_normal(shape).astype(np.float32)
        found, wanted = runtime.probe(layer, rows), chip.probe(layer, rows)
        assert found.shape == (4, 3, layer.outputs)
        np.testing.assert_allclose(found, wanted, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["depthwise", "residual", "chain"])
def test_branches_that_do_nothing_change_no_bit(name: str, scheme: str) -> None:
    graph = NETWORKS[name]
    network, runtime, _ = on_both(graph, scheme=scheme)
    zero = {
        layer: replace(one, a=np.zeros_like(one.a), b=np.zeros_like(one.b))
        for layer, one in some_factors(network, 2).surrogates.items()
    }
    gains = {layer: replace(one, a=one.a[:0], b=one.b[:, :0]) for layer, one in zero.items()}
    x, taps = samples_for(graph, COUNT, seed=5), all_positions(network, COUNT)
    with_branches = runtime.run(x, Factors(zero), taps)
    without = runtime.run(x, Factors(gains), taps)  # no tapped layer hands over codes, either
    for layer, seen in with_branches.layers.items():
        np.testing.assert_array_equal(seen.outputs, without.layers[layer].outputs)
    in_use = seen.outputs.reshape(with_branches.answers.shape)
    np.testing.assert_array_equal(with_branches.answers, in_use)


def test_looking_changes_no_answer() -> None:
    network, runtime, _ = on_both(classifier(), scheme="int8")
    x, taps = samples_for(classifier(), COUNT, seed=5), all_positions(network, COUNT)
    for factors in (no_factors(network.layers), some_factors(network, 0), some_factors(network, 1)):
        looked_at = runtime.run(x, factors, taps).answers
        np.testing.assert_array_equal(looked_at, runtime.run(x, factors, {}).answers)


@pytest.mark.parametrize("gain", [-1.5, 0.0, 1e-12, -1e-6])
def test_any_gain_lies_in_scales_and_codes(gain: float) -> None:
    network, runtime, chip = on_both(classifier(), scheme="int8")
    plain, x = no_factors(network.layers), samples_for(classifier(), COUNT, seed=5)
    for layer in network.layers:
        gains = np.where(np.arange(layer.outputs) % 2, gain, 1).astype(np.float32)
        offsets = np.full(layer.outputs, 0.25, np.float32)
        one = replace(plain[layer.name], gain=gains, offset=offsets)
        factors = plain.replaced(layer.name, one)
        found, wanted = runtime.run(x, factors, {}).answers, chip.run(x, factors, {}).answers
        assert relative(found, wanted) < 0.03
        integers = integer_weights(
            network.weights[layer.name], layer.bias, network.activations[layer.name].step, one
        )
        assert np.abs(integers.bias.astype(np.int64)).max() <= 2**30
        shift = gains * layer.bias + offsets
        np.testing.assert_allclose(
            integers.bias * integers.bias_scales.astype(np.float64), shift, atol=1e-4
        )


def operations(graph: Graph, folder: Path) -> list[str]:
    """What is left of a graph when onnxruntime has fused it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(onnx_model(graph, [graph.output]), options)
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_every_layer_runs_in_an_integer_kernel_with_and_without_branches(
    scheme: str, rank: int, tmp_path: Path
) -> None:
    network, runtime, _ = on_both(residual(), scheme=scheme)
    graph = integer_graph(network, runtime._outputs, some_factors(network, rank))
    found = operations(graph, tmp_path)
    assert sum(op in {"QLinearConv", "QGemm", "MatMulIntegerToFloat"} for op in found) == 4
    assert found.count("QLinearConv") == 3


def test_a_layer_without_branch_hands_its_codes_to_the_next(tmp_path: Path) -> None:
    network, runtime, _ = on_both(classifier(), scheme="int8")
    nothing = no_factors(network.layers)
    graph = integer_graph(network, runtime._outputs, nothing)
    found = operations(graph, tmp_path)
    assert found.count("QuantizeLinear") <= 3  # the network's input, the last convolution, the head
    assert "Relu" not in found[: found.index("QLinearConv") + 2]
    branch = nothing.replaced("depthwise", some_factors(network, 1)["depthwise"])
    with_branch = operations(integer_graph(network, runtime._outputs, branch), tmp_path)
    assert with_branch.count("QuantizeLinear") > found.count("QuantizeLinear")


def test_other_factors_are_loaded_and_the_same_are_not_loaded_again() -> None:
    network, runtime, _ = on_both(classifier(), scheme="int4")
    x = samples_for(classifier(), 4, seed=5)
    one, other = some_factors(network, 2, seed=1), some_factors(network, 3, seed=2)
    first = runtime.run(x, one, {}).answers
    session = runtime._session(one, [])
    assert runtime._session(one, [network.layers[0]]) is not session
    assert relative(runtime.run(x, other, {}).answers, first) > 1e-3
    np.testing.assert_array_equal(runtime.run(x, one, {}).answers, first)
    assert runtime._session(one, []) is session
    for seed in range(2 * SESSIONS):
        runtime.run(x, some_factors(network, 1, seed=seed), {})
    assert len(runtime._loaded) == SESSIONS
    np.testing.assert_array_equal(runtime.run(x, one, {}).answers, first)
    runtime.close()
    assert not runtime._loaded


def test_batches_make_no_difference() -> None:
    network, runtime, _ = on_both(residual(), scheme="int8")
    x = samples_for(residual(), 37, seed=5)
    factors, taps = some_factors(network, 1), all_positions(network, 37)
    whole = runtime.run(x, factors, taps)
    assert whole.answers.shape == (37, 5)
    last = runtime.run(x[36:], factors, {name: at[36:] for name, at in taps.items()})
    np.testing.assert_allclose(whole.answers[36:], last.answers, rtol=1e-6)
    for name, seen in last.layers.items():
        np.testing.assert_allclose(whole.layers[name].outputs[36:], seen.outputs, rtol=1e-6)


def test_training_through_it_is_refused_and_names_what_works() -> None:
    network, runtime, _ = on_both(residual(), scheme="int8")
    assert not can_train(runtime)
    assert resolve("auto", runtime, network) == "probe"
    with pytest.raises(RuntimeUnavailableError, match="choose --method probe"):
        resolve("gradient", runtime, network)


def test_what_onnxruntime_refuses_is_one_sentence() -> None:
    node = Node("odd", "NoSuchOperation", ("x",), ("y",))
    graph = Graph("odd", Port("x", (1, 2)), "y", (node,), {})
    with pytest.raises(RuntimeUnavailableError, match=r"cannot run .*NoSuchOperation"):
        OnnxSession(imported(), graph, ["y"])
    session = OnnxSession(
        imported(),
        Graph("g", Port("x", (1, 2)), "y", (Node("r", "Relu", ("x",), ("y",)),), {}),
        ["y"],
    )
    with pytest.raises(RuntimeUnavailableError, match="cannot run the network") as caught:
        session.run(np.zeros((1, 3), np.float32))
    assert "\n" not in str(caught.value)
