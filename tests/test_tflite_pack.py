"""The graphs that `pack` writes for the runtime tflite, run by LiteRT.

Small models of every operator, float and quantised: their plain graphs against products of whole
numbers in NumPy, their branches against the same graph without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from agent.runtimes.tflite_patch import patched
from agent.runtimes.tflite_plan import probe_name
from calib.factors import Factors, Surrogate, no_factors
from calib.graph.executor import run
from calib.graph.linear import multiply
from calib.importers.tflite_schema import ALIGNMENT_BYTES, packed, unpacked
from calib.integer_weights import integer_weights
from calib.packed import PackedNetwork
from calib.ranges import nominal_products
from calib.tflite_layout import row_tensor, weights_of
from tests.test_importers_tflite import NETWORKS
from tests.tflite_models import Writer
from tests.tflite_packs import Packed, answers, outputs, packed_for_tflite, samples_of

Network = Callable[[Writer], int]
MODES = ("pre-activation", "post-activation")
FINITE = [network for network in NETWORKS if network.__name__ != "arithmetic"]
"""Its division by small codes gives no numbers."""

by_name = pytest.mark.parametrize("network", FINITE, ids=lambda network: network.__name__)
in_both_modes = pytest.mark.parametrize("mode", MODES)


def written(network: Network, folder: Path) -> Path:
    writer = Writer()
    content = writer.content(network(writer))
    path = folder / f"{network.__name__}.tflite"
    path.write_bytes(content)
    return path


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def integer_answers(network: PackedNetwork, x: Any) -> Any:
    graph = network.decision_graph
    replace = nominal_products(network.layers, network.activations)
    return run(graph, x, replace=replace)[graph.output]


def quantised(network: Network, folder: Path) -> tuple[Path, Any]:
    """A small model made int8 by ourselves, and samples: a model like any other from then on."""
    path = written(network, folder)
    x = samples_of(path)
    made = folder / f"{network.__name__}_int8.tflite"
    made.write_bytes(packed_for_tflite(path, x, branches="none").model)
    return made, x


@by_name
def test_a_plain_graph_answers_as_products_of_whole_numbers_do(
    network: Network, tmp_path: Path
) -> None:
    path = written(network, tmp_path)
    x = samples_of(path)
    made = packed_for_tflite(path, x, branches="none")
    # What else is rounded to 8 bits is not in these: sums, poolings and the answer.
    assert relative(answers(made.model, x), integer_answers(made.network, x)) < 0.03


@by_name
@in_both_modes
def test_taps_change_no_bit_of_the_answers(network: Network, mode: str, tmp_path: Path) -> None:
    path = written(network, tmp_path)
    x = samples_of(path)
    made = packed_for_tflite(path, x, surrogates_at=mode)
    factors = some_factors(made, seed=1)
    model = patched(
        made.model, {n: p.model for n, p in made.plan.layers.items()}, made.network, factors
    )
    taps = patched(
        made.taps, {n: p.taps for n, p in made.plan.layers.items()}, made.network, factors
    )
    np.testing.assert_array_equal(answers(model, x), answers(taps, x))


@by_name
def test_without_factors_a_quantised_model_answers_as_its_own_file(
    network: Network, tmp_path: Path
) -> None:
    path, x = quantised(network, tmp_path)
    expected = answers(path.read_bytes(), x)
    for branches in ("all", "none"):
        made = packed_for_tflite(path, x, surrogates_at="post-activation", branches=branches)
        np.testing.assert_array_equal(answers(made.model, x), expected)


@by_name
def test_zero_factors_before_the_activation_are_no_factors(
    network: Network, tmp_path: Path
) -> None:
    path = written(network, tmp_path)
    x = samples_of(path)
    made = packed_for_tflite(path, x)
    np.testing.assert_array_equal(answers(made.model, x), answers(without_branches(made.model), x))


def without_branches(content: bytes) -> bytes:
    """The file with nothing added where a branch was: A and B are taken out."""
    model = unpacked(content)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    kept = []
    for operator in graph.operators:
        made = names[operator.outputs[0]]
        if made.endswith(("/branch", "/branch/low")):
            continue
        added = [i for i in operator.inputs if names[i].endswith("/branch")]
        if added:
            nothing = schema.BufferT(data=np.zeros(4, np.uint8))
            model.buffers.append(nothing)
            zero = schema.TensorT(shape=[1], type=0, buffer=len(model.buffers) - 1, name="nothing")
            graph.tensors.append(zero)
            operator.inputs = [operator.inputs[0], len(graph.tensors) - 1]
        kept.append(operator)
    graph.operators = kept
    return packed(model)


@by_name
def test_numbers_stand_where_the_plan_says(network: Network, tmp_path: Path) -> None:
    path = written(network, tmp_path)
    made = packed_for_tflite(path, samples_of(path))
    for layer in made.network.layers:
        plan, name = made.plan.layers[layer.name], layer.name
        step, weights = made.network.activations[name].step, made.network.weights[name]
        nominal = no_factors([layer])[name]
        integers = integer_weights(weights, layer.bias, step, nominal)
        for content, places in ((made.model, plan.model), (made.taps, plan.taps)):
            codes = read(content, places.weights)
            np.testing.assert_array_equal(
                weights_of(codes, layer.groups, places.weights.form), weights.codes
            )
            np.testing.assert_array_equal(read(content, places.scales), integers.scales)
            np.testing.assert_array_equal(read(content, places.bias), integers.bias)
            np.testing.assert_array_equal(read(content, places.bias_scales), integers.bias_scales)
            for place in (places.a, places.b, places.b_bias):
                assert (place is None) == (plan.rank == 0)
                if place is not None:
                    assert not read(content, place).any()
                    assert place.offset % ALIGNMENT_BYTES == 0


def read(content: bytes, place: Any) -> Any:
    values = np.frombuffer(content, place.dtype, place.size, place.offset)
    return values.reshape(place.shape)


def some_factors(made: Packed, seed: int) -> Factors:
    """Factors that change every layer."""
    generator = np.random.default_rng(seed)
    found = {}
    for layer in made.network.layers:
        rank = made.plan.layers[layer.name].rank
        size = 0.3 * np.sqrt(np.square(layer.weight).mean() / max(rank, 1))
        found[layer.name] = Surrogate(
            gain=generator.uniform(0.7, 1.3, layer.outputs).astype(np.float32),
            offset=(0.1 * generator.standard_normal(layer.outputs)).astype(np.float32),
            a=generator.standard_normal((rank, layer.inputs)).astype(np.float32),
            b=(size * generator.standard_normal((layer.outputs, rank))).astype(np.float32),
        )
    return Factors(found)


@by_name
def test_factors_written_there_do_what_they_say(network: Network, tmp_path: Path) -> None:
    """What each layer is seen to make of what it is given is what its surrogate makes of it."""
    path = written(network, tmp_path)
    x = samples_of(path)
    made = packed_for_tflite(path, x)
    factors = some_factors(made, seed=2)
    places = {name: plan.taps for name, plan in made.plan.layers.items()}
    content = patched(made.taps, places, made.network, factors)
    values, codes = outputs(content, x), codes_of(content)

    def seen(name: str) -> Any:
        scale, zero = codes[name]
        value = values[name]
        if value.dtype == np.float32:
            return value
        return (value.astype(np.float32) - np.float32(zero)) * np.float32(scale)

    def half_step(name: str) -> float:
        return 0.52 * codes[name][0]

    for layer in made.network.layers:
        tensors = made.plan.layers[layer.name].tap_tensors
        given = seen(tensors.input)
        given = given if layer.window is None else np.moveaxis(given, -1, 1)
        rows = layer.rows(given.reshape(-1, *layer.input_shape))
        main = seen(tensors.main).reshape(len(x), layer.positions, layer.outputs)
        exact = multiply(rows, layer.weight) + layer.bias
        assert np.abs(main - clipped(exact, codes[tensors.main])).max() < half_step(tensors.main)
        plan, surrogate = made.plan.layers[layer.name], factors[layer.name]
        assert (tensors.output is None) == (plan.rank == 0 and plan.activation != "none")
        if tensors.output is None:
            continue
        output = seen(tensors.output).reshape(main.shape)
        bare = exact * surrogate.gain + surrogate.offset
        kernel = tensors.main if plan.rank else tensors.output
        branch = surrogate.apply(exact, rows) - bare
        expected = clipped(bare, codes[kernel]) + branch
        assert np.abs(output - expected).max() < half_step(kernel) + 1e-4 * np.abs(branch).max()


def clipped(values: Any, code: tuple[float, int]) -> Any:
    scale, zero = code
    return np.clip(values, (-128 - zero) * scale, (127 - zero) * scale)


def codes_of(content: bytes) -> dict[str, tuple[float, int]]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return {one["name"]: one["quantization"] for one in interpreter.get_output_details()}


@by_name
def test_each_layer_can_be_driven_alone(network: Network, tmp_path: Path) -> None:
    path = written(network, tmp_path)
    made = packed_for_tflite(path, samples_of(path))
    for index, layer in enumerate(made.network.layers):
        interpreter = Interpreter(model_content=made.files[probe_name(index)], num_threads=1)
        interpreter.allocate_tensors()
        (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        shape = tuple(int(size) for size in entry["shape"])
        rows = np.random.default_rng(index).integers(
            -128, 128, (shape[0], layer.groups, layer.inputs), np.int8
        )
        taps = 1 if layer.window is None else int(np.prod(layer.window.kernel))
        interpreter.set_tensor(entry["index"], row_tensor(rows, taps, shape))
        interpreter.invoke()
        found = interpreter.get_tensor(result["index"]).reshape(shape[0], layer.outputs)
        code = made.network.activations[layer.name]
        values = code.decode((rows.astype(np.int16) + 128).astype(np.uint8))
        scale, zero = result["quantization"]
        expected = np.clip((multiply(values, layer.weight) + layer.bias) / scale + zero, -128, 127)
        assert np.abs(found - expected).max() < 0.51


@pytest.mark.parametrize(
    ("model", "samples"),
    [("resnet8", "cifar10"), ("kws", "kws"), ("vww", None), ("ad", None)],
)
def test_real_quantised_models_without_factors_answer_as_their_files(
    data_directory: Path, model: str, samples: str | None
) -> None:
    path = data_directory / "mlperf-tiny" / f"{model}_int8.tflite"
    if samples is None:
        shape = samples_of(path, 1).shape[1:]
        x = np.random.default_rng(0).uniform(-20, 20, (24, *shape)).astype(np.float32)
    else:
        with np.load(data_directory / f"{samples}.npz") as data:
            x = data["test_x" if "test_x" in data else "x"][:24].astype(np.float32)
    expected = logits(path.read_bytes(), x[:6])
    for mode, branches in (("post-activation", "all"), ("pre-activation", "none")):
        made = packed_for_tflite(path, x, surrogates_at=mode, branches=branches)
        np.testing.assert_array_equal(answers(made.model, x[:6]), expected)


def logits(content: bytes, x: Any) -> Any:
    """What a quantised file answers before its SOFTMAX, in the values that its codes stand for."""
    model = unpacked(content)
    graph = model.subgraphs[0]
    last = model.operatorCodes[graph.operators[-1].opcodeIndex]
    if max(last.builtinCode, last.deprecatedBuiltinCode) == schema.BuiltinOperator.SOFTMAX:
        graph.outputs = graph.operators.pop().inputs[:1]
    entry = graph.tensors[graph.inputs[0]].quantization
    steps = x / np.float32(entry.scale[0])
    codes = np.clip(np.trunc(steps + np.copysign(0.5, steps)) + entry.zeroPoint[0], -128, 127)
    result = graph.tensors[graph.outputs[0]].quantization
    found = answers(packed(model), codes).astype(np.float32)
    return (found - np.float32(result.zeroPoint[0])) * np.float32(result.scale[0])
