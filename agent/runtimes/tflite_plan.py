"""The file in a bundle that says where in its `.tflite` files the numbers of each layer stand.

A `.tflite` file is a flatbuffer: a number in it can be changed where it lies, as long as the size
of the whole stays. So a board needs no schema and no flatbuffers library, but offsets alone; the
workstation that made the files has written them down here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from agent.errors import BundleError
from agent.store.fields import Fields, decoded_fields
from calib.graph.linear import LinearLayer

FOLDER = "tflite/"
FILE_NAME = FOLDER + "plan.json"
MODEL_NAME = FOLDER + "model.tflite"
TAPS_NAME = FOLDER + "taps.tflite"
FILE_FORMAT = 1

PRE_ACTIVATION = "pre-activation"
POST_ACTIVATION = "post-activation"
SURROGATES_AT = (PRE_ACTIVATION, POST_ACTIVATION)
ACTIVATIONS = ("none", "relu", "relu6")

VECTOR = "vector"
FORMS = (VECTOR, "OHWI", "1HWO", "OI")
"""How a tensor's axes lie: outputs O, height H, width W, inputs I of a group; or numbers in a row,
one an output."""

MOST_RANK = 2**16 - 1
_AGAIN = "pack the model again"


def probe_name(index: int) -> str:
    """The file that drives the layer with this index alone."""
    return f"{FOLDER}probe-{index}.tflite"


@dataclass(frozen=True)
class Place:
    """Where an array stands in a file."""

    offset: int
    """Bytes from the file's start."""

    shape: tuple[int, ...]
    """The tensor's own."""

    dtype: str
    """`int8`, `int32` or `float32`, little-endian."""

    form: str
    """One of `FORMS`: how our array becomes this one, see `calib.tflite_layout`."""

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class LayerPlaces:
    """Where the numbers of one layer stand in one file."""

    weights: Place
    scales: Place
    """Of the weights: one an output, or one for all."""

    bias: Place
    bias_scales: Place
    a: Place | None
    """Null where the layer has no branch; so are the next."""

    b: Place | None
    b_bias: Place | None
    """Of B's product: zeros, for the offset is in `bias`."""


@dataclass(frozen=True)
class TapTensors:
    """The outputs of the file with taps that show one layer, by name."""

    input: str
    """The codes that the layer was given."""

    main: str
    """The codes of what the nominal weights make of them, without gain, offset and activation."""

    output: str | None
    """The corrected sum before the activation, where the graph in use has such a tensor."""


@dataclass(frozen=True)
class LayerPlan:
    """What there is of one layer."""

    rank: int
    """Of its branch; 0: it has none. Smaller ranks are filled up with zeros."""

    activation: str
    """What follows the sum, one of `ACTIVATIONS`."""

    model: LayerPlaces
    taps: LayerPlaces
    tap_tensors: TapTensors


@dataclass(frozen=True)
class TflitePlan:
    """What the board has to know of the `.tflite` files in a bundle."""

    surrogates_at: str
    """One of `SURROGATES_AT`."""

    made_with: str
    """Such as `ai-edge-litert 2.3.0`."""

    layers: Mapping[str, LayerPlan]


def encode_plan(plan: TflitePlan) -> bytes:
    """The file's bytes."""
    document = {"format": FILE_FORMAT, **asdict(plan)}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def decode_plan(content: bytes, layers: Sequence[LinearLayer]) -> TflitePlan:
    """The inverse of `encode_plan`, for just these layers.

    Raises:
        BundleError: the file is damaged, of another version, or of another network.
    """
    plan = decoded_fields(content, FILE_NAME, FILE_FORMAT)
    listed = plan.inner("layers")
    strange = sorted(set(listed.content) - {layer.name for layer in layers})
    if strange:
        raise BundleError(
            f"{FILE_NAME} lists the layer {strange[0][:80]!r}, which the network does not have; it "
            f"is of another network: {_AGAIN}"
        )
    return TflitePlan(
        surrogates_at=_one_of(plan, "surrogates_at", SURROGATES_AT),
        made_with=plan.text("made_with"),
        layers={layer.name: _layer(listed.inner(layer.name), layer) for layer in layers},
    )


def _layer(entry: Fields, layer: LinearLayer) -> LayerPlan:
    rank = entry.whole("rank", 0, MOST_RANK)
    tensors = entry.inner("tap_tensors")
    corrected = tensors.content.get("output")
    return LayerPlan(
        rank=rank,
        activation=_one_of(entry, "activation", ACTIVATIONS),
        model=_places(entry.inner("model"), layer, rank),
        taps=_places(entry.inner("taps"), layer, rank),
        tap_tensors=TapTensors(
            input=tensors.text("input"),
            main=tensors.text("main"),
            output=None if corrected is None else tensors.text("output"),
        ),
    )


def _places(entry: Fields, layer: LinearLayer, rank: int) -> LayerPlaces:
    many, one_each = layer.outputs, (layer.outputs,)

    def branch(name: str, size: int, forms: tuple[str, ...]) -> Place | None:
        if rank:
            return _place(entry.inner(name), "float32", (size,), forms)
        if entry.content.get(name) is not None:
            raise BundleError(f"{entry.where}: {name!r} stands there at rank 0; {_AGAIN}")
        return None

    return LayerPlaces(
        weights=_place(entry.inner("weights"), "int8", (int(layer.weight.size),), FORMS[1:]),
        scales=_place(entry.inner("scales"), "float32", (many, 1), (VECTOR,)),
        bias=_place(entry.inner("bias"), "int32", one_each, (VECTOR,)),
        bias_scales=_place(entry.inner("bias_scales"), "float32", (many, 1), (VECTOR,)),
        a=branch("a", layer.groups * rank * layer.inputs, FORMS[1:]),
        b=branch("b", rank * many, FORMS[1:]),
        b_bias=branch("b_bias", many, (VECTOR,)),
    )


def _place(entry: Fields, dtype: str, sizes: tuple[int, ...], forms: tuple[str, ...]) -> Place:
    shape = entry.wholes("shape", low=1)
    if math.prod(shape) not in sizes:
        wanted = " or ".join(map(str, sizes))
        raise BundleError(
            f"{entry.where}: the shape {list(shape)} holds {math.prod(shape)} numbers, the layer "
            f"needs {wanted}; it is of another network: {_AGAIN}"
        )
    return Place(
        offset=entry.whole("offset"),
        shape=shape,
        dtype=_one_of(entry, "dtype", (dtype,)),
        form=_one_of(entry, "form", forms),
    )


def _one_of(entry: Fields, name: str, known: tuple[str, ...]) -> str:
    found = entry.text(name)
    if found not in known:
        raise BundleError(
            f"{entry.where}: {name!r} is {found[:60]!r} and not {' or '.join(known)}; {_AGAIN}"
        )
    return found
