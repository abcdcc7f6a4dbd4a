"""Factors written into a file by offsets: read back, they are the layer's own arithmetic."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import RuntimeUnavailableError
from agent.runtimes.tflite_patch import check_places, patched
from agent.runtimes.tflite_plan import LayerPlaces, Place
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.packed import PackedNetwork
from tests.small_networks import classifier, packed

START = 32
GAP = 5
"""Bytes between the arrays, which nobody may touch."""

with np.errstate(under="ignore"):  # as outside the tests
    NETWORKS = {
        "depthwise": packed(classifier(), labels=True, scheme="int8"),
        "grouped": packed(classifier(groups=2), labels=True, scheme="int8"),
        "four bits": packed(classifier(groups=1), labels=True, scheme="int4-tensor"),
    }


def is_depthwise(layer: LinearLayer) -> bool:
    return layer.groups > 1 and layer.groups == layer.input_shape[0]


class Layout:
    """Places of all layers one after the other, with gaps."""

    def __init__(self, network: PackedNetwork, rank: int, *, one_scale: bool) -> None:
        self.end = START
        self.places: dict[str, LayerPlaces] = {}
        for layer in network.layers:
            self.places[layer.name] = self.of(layer, rank, one_scale=one_scale)

    def of(self, layer: LinearLayer, rank: int, *, one_scale: bool) -> LayerPlaces:
        """The places of one layer; depthwise ones have no branch."""
        kernel = () if layer.window is None else layer.window.kernel
        form = "OHWI" if kernel else "OI"
        inputs = layer.inputs // int(np.prod(kernel, dtype=int))
        weights: tuple[int, ...] = (layer.outputs, *kernel, inputs)
        if is_depthwise(layer):
            form, weights, rank = "1HWO", (1, *kernel, layer.outputs), 0
        scales = (1,) if one_scale else (layer.outputs,)
        ones = (1,) * len(kernel)
        a_shape = (layer.groups * rank, *kernel, inputs)
        return LayerPlaces(
            weights=self.place(weights, "int8", form),
            scales=self.place(scales, "float32", "vector"),
            bias=self.place((layer.outputs,), "int32", "vector"),
            bias_scales=self.place(scales, "float32", "vector"),
            a=self.place(a_shape, "float32", form) if rank else None,
            b=self.place((layer.outputs, *ones, rank), "float32", form) if rank else None,
            b_bias=self.place((layer.outputs,), "float32", "vector") if rank else None,
        )

    def place(self, shape: tuple[int, ...], dtype: str, form: str) -> Place:
        """The next place."""
        found = Place(self.end, shape, dtype, form)
        self.end = found.end + GAP
        return found

    def content(self, network: PackedNetwork, around: bytes) -> bytes:
        """A file with the network's weights, as every file has them, and anything around."""
        filled = bytearray(around)
        for layer in network.layers:
            place, codes = self.places[layer.name].weights, network.weights[layer.name].codes
            last = np.moveaxis(codes, 1, 0) if place.form == "1HWO" else codes.swapaxes(1, 2)
            filled[place.offset : place.end] = last.tobytes()
        return bytes(filled)


def array(content: bytes, place: Place) -> Any:
    """What stands at a place, in the file's own layout."""
    return np.frombuffer(content, f"<{np.dtype(place.dtype).str[1:]}", place.size, place.offset)


def computed(content: bytes, places: LayerPlaces, layer: LinearLayer, rows: Any) -> Any:
    """What the operators make of rows [n, groups, d], output by output, with TFLite's layouts."""
    weights = array(content, places.weights).reshape(places.weights.shape).astype(np.float64)
    scales = np.broadcast_to(array(content, places.scales), layer.outputs)
    bias = array(content, places.bias) * array(content, places.bias_scales).astype(np.float64)
    per_group = layer.outputs // layer.groups
    made = np.empty((len(rows), layer.outputs))
    for output in range(layer.outputs):
        group = output // per_group
        last = places.weights.form == "1HWO"
        own = weights[0, ..., output] if last else weights[output]
        made[:, output] = rows[:, group] @ own.reshape(-1) * scales[output] + bias[output]
    if places.a is not None and places.b is not None:
        a = array(content, places.a).reshape(layer.groups, -1, layer.inputs)
        b = array(content, places.b).reshape(layer.outputs, -1)
        for output in range(layer.outputs):
            low = rows[:, output // per_group] @ a[output // per_group].T
            made[:, output] += low @ b[output]
    return made


def drawn(network: PackedNetwork, rank: int, seed: int, gain: float) -> Factors:
    generator = np.random.default_rng(seed)

    def numbers(*shape: int) -> Any:
        return generator.standard_normal(shape).astype(np.float32)

    found = {}
    for layer in network.layers:
        room = 0 if is_depthwise(layer) else min(rank, layer.inputs)
        found[layer.name] = Surrogate(
            gain=1 + np.float32(gain) * numbers(layer.outputs),
            offset=numbers(layer.outputs),
            a=numbers(layer.groups * room, layer.inputs),
            b=numbers(layer.outputs, room),
        )
    return Factors(found)


@pytest.mark.parametrize("name", NETWORKS)
@given(
    seed=st.integers(0, 2**32 - 1), rank=st.integers(0, 4), gain=st.sampled_from([0.0, 0.1, 3.0])
)
def test_what_is_read_back_is_the_corrected_layer(
    name: str, seed: int, rank: int, gain: float
) -> None:
    network, layout = NETWORKS[name], Layout(NETWORKS[name], 4, one_scale=False)
    content = layout.content(network, np.random.default_rng(seed).bytes(layout.end + 20))
    factors = drawn(network, rank, seed, gain)
    after = patched(content, layout.places, network, factors)
    assert len(after) == len(content)
    for layer in network.layers:
        places, surrogate = layout.places[layer.name], factors[layer.name]
        rows = np.random.default_rng(seed).standard_normal((3, layer.groups, layer.inputs))
        main = rows.astype(np.float32).swapaxes(0, 1) @ network.weights[layer.name].values()
        nominal = main.swapaxes(0, 1).reshape(3, -1) + layer.bias
        wanted = surrogate.apply(nominal.astype(np.float32), rows.astype(np.float32))
        found = computed(after, places, layer, rows)
        unit = np.abs(array(after, places.bias_scales)).max()
        np.testing.assert_allclose(found, wanted, atol=2e-4 * np.abs(wanted).max() + unit)
    untouched = bytearray(after)
    for places in layout.places.values():
        for place in written(places):
            untouched[place.offset : place.end] = content[place.offset : place.end]
    assert bytes(untouched) == content


def written(places: LayerPlaces) -> list[Place]:
    found = [getattr(places, field.name) for field in fields(places) if field.name != "b_bias"]
    return [place for place in found if place is not None]


@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_one_scale_for_all_outputs_costs_half_a_step_of_a_code(gain: float) -> None:
    network = NETWORKS["four bits"]
    layout = Layout(network, 4, one_scale=True)
    factors = drawn(network, 0, 1, gain)
    content = layout.content(network, bytes(layout.end))
    after = patched(content, layout.places, network, factors)
    for layer in network.layers:
        places, surrogate = layout.places[layer.name], factors[layer.name]
        codes = array(after, places.weights).reshape(layer.outputs, -1)
        scale = float(array(after, places.scales)[0])
        wanted = network.weights[layer.name].values()[0] * surrogate.gain
        np.testing.assert_allclose(codes.T * scale, wanted, atol=0.51 * scale)
        if not gain:
            np.testing.assert_array_equal(codes.T, network.weights[layer.name].codes[0])
        bias_scale = float(array(after, places.bias_scales)[0])
        shift = surrogate.gain * layer.bias + surrogate.offset
        np.testing.assert_allclose(
            array(after, places.bias) * bias_scale, shift, atol=2 * bias_scale
        )


def test_places_are_checked_against_the_weights() -> None:
    network = NETWORKS["depthwise"]
    layout = Layout(network, 4, one_scale=False)
    content = layout.content(network, bytes(layout.end))
    check_places(content, layout.places, network, "any.tflite")
    with pytest.raises(RuntimeUnavailableError, match=r"rank 5, .* has room for 4"):
        patched(content, layout.places, network, drawn(network, 5, 1, 0.0))
