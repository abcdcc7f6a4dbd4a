"""Factors into a `.tflite` file: the numbers that depend on them, written where they stand.

Gain and offset go into the layer's own integers (`calib.integer_weights`). A and B go into its
branch, filled up with zeros to the branch's rank; where there is none, and codes of 4 bits lie in
bytes, into the weights as well (`calib.folded_weights`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from agent.errors import BundleError, RuntimeUnavailableError
from agent.runtimes.tflite_plan import VECTOR, LayerPlaces, Place
from calib.factors import Factors, Surrogate
from calib.folded_weights import folded_integers, has_room
from calib.graph.linear import LinearLayer
from calib.integer_weights import IntegerWeights, integer_weights
from calib.packed import PackedNetwork
from calib.tflite_layout import weight_tensor

Places = Mapping[str, LayerPlaces]
"""By layer, those of one file."""

Array = NDArray[np.generic]


def patched(content: bytes, places: Places, network: PackedNetwork, factors: Factors) -> bytes:
    """The file with these factors in it.

    Args:
        content: the file, in which the network's weights stand, see `check_places`.
        places: where it has what.
        network: what is in the bundle beside it.
        factors: of its layers.

    Raises:
        RuntimeUnavailableError: a layer's factors do not fit into its branch.
    """
    changed = bytearray(content)
    for layer in network.layers:
        for place, values in _values(layer, places[layer.name], network, factors[layer.name]):
            changed[place.offset : place.end] = _bytes(place, values)
    return bytes(changed)


def check_places(content: bytes, places: Places, network: PackedNetwork, name: str) -> None:
    """Refuse a plan of another file: all that it lists must be there, the weights our own.

    Args:
        content: the file.
        places: what the plan says of it.
        network: what is in the bundle beside it.
        name: the file's, for the message.

    Raises:
        BundleError: the plan and the file do not belong together.
    """
    for layer in network.layers:
        ends = [place.end for place in _all_places(places[layer.name])]
        if max(ends) > len(content):
            raise BundleError(
                f"layer {layer.name}: its numbers end at byte {max(ends)} of {name}, which has "
                f"{len(content)}; the plan is of another file: pack the model again"
            )
        where = places[layer.name].weights
        if content[where.offset : where.end] != _bytes(where, network.weights[layer.name].codes):
            raise BundleError(
                f"layer {layer.name}: the weights at byte {where.offset} of {name} are not those "
                "of the bundle; the plan is of another file, or one of them is damaged: pack the "
                "model again"
            )


def _all_places(places: LayerPlaces) -> Iterator[Place]:
    fixed = (places.weights, places.scales, places.bias, places.bias_scales)
    branch = (places.a, places.b, places.b_bias)
    yield from fixed
    yield from (place for place in branch if place is not None)


def _bytes(place: Place, values: Array) -> bytes:
    dtype = np.dtype(place.dtype).newbyteorder("<")
    if place.form == VECTOR:
        return values.reshape(place.shape).astype(dtype, copy=False).tobytes()
    return weight_tensor(values, place.shape, place.form).astype(dtype, copy=False).tobytes()


def _values(
    layer: LinearLayer, places: LayerPlaces, network: PackedNetwork, surrogate: Surrogate
) -> Iterable[tuple[Place, Array]]:
    """What is to be written for one layer."""
    name = layer.name
    step = network.activations[name].step
    weights = network.weights[name]
    folded = surrogate.has_branch and places.a is None and has_room(weights)
    made_of = folded_integers if folded else integer_weights
    integers = made_of(weights, layer.bias, step, surrogate)
    if places.scales.size < layer.outputs:
        integers = _with_one_scale(integers)
    if integers.codes is not weights.codes:  # those the file has, as `check_places` saw
        yield places.weights, integers.codes
    yield places.scales, integers.scales[: places.scales.size]
    yield places.bias, integers.bias
    yield places.bias_scales, integers.bias_scales[: places.bias_scales.size]
    if places.a is not None and places.b is not None:
        rank = places.b.size // layer.outputs
        a, b = _filled(layer, surrogate, rank)
        yield places.a, a
        yield places.b, b
    elif surrogate.has_branch and not folded:
        raise _too_large(layer, surrogate.rank, 0)


def _with_one_scale(integers: IntegerWeights) -> IntegerWeights:
    """All codes and biases in units of the largest scale: what a kernel with one scale takes."""
    largest = integers.scales.max()
    ratio = integers.scales / largest
    groups, _, per_group = integers.codes.shape
    codes = np.rint(integers.codes * ratio.reshape(groups, 1, per_group)).astype(np.int8)
    bias_scale = integers.bias_scales.max()
    bias = np.rint(integers.bias * (integers.bias_scales.astype(np.float64) / bias_scale))
    return IntegerWeights(
        codes=codes,
        scales=np.full_like(integers.scales, largest),
        bias=bias.astype(np.int32),
        bias_scales=np.full_like(integers.bias_scales, bias_scale),
    )


def _filled(layer: LinearLayer, surrogate: Surrogate, rank: int) -> tuple[Array, Array]:
    """A as weights [groups, d, rank] and B [groups, rank, outputs/groups], zeros behind ours."""
    if surrogate.rank > rank:
        raise _too_large(layer, surrogate.rank, rank)
    # In memory they lie as in the file, so that nothing has to be moved once more.
    a = np.zeros((layer.groups, rank, layer.inputs), np.float32)
    b = np.zeros((layer.groups, layer.outputs // layer.groups, rank), np.float32)
    if surrogate.rank:
        ours_a, ours_b = surrogate.by_group
        a[:, : surrogate.rank] = ours_a
        b[:, :, : surrogate.rank] = ours_b
    return a.swapaxes(1, 2), b.swapaxes(1, 2)


def _too_large(layer: LinearLayer, rank: int, capacity: int) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"layer {layer.name}: its factors have rank {rank}, its branch in the bundle has room for "
        f"{capacity}; calibrate anew, or pack the model with another --branches"
    )
