"""A plan of `.tflite` files for a small network, made up."""

from __future__ import annotations

from agent.runtimes.tflite_plan import LayerPlaces, LayerPlan, Place, TapTensors, TflitePlan
from calib.graph.linear import LinearLayer, linear_layers
from tests.small_networks import classifier

LAYERS = linear_layers(classifier())


def places(layer: LinearLayer, rank: int) -> LayerPlaces:
    def numbers(*shape: int, dtype: str = "float32", form: str = "vector") -> Place:
        return Place(400, shape, dtype, form)

    def branch(*shape: int, form: str = "OI") -> Place | None:
        return numbers(*shape, form=form) if rank else None

    return LayerPlaces(
        weights=numbers(layer.outputs, layer.weight.size // layer.outputs, dtype="int8", form="OI"),
        scales=numbers(layer.outputs),
        bias=numbers(layer.outputs, dtype="int32"),
        bias_scales=numbers(1),
        a=branch(rank, layer.inputs),
        b=branch(layer.outputs, rank),
        b_bias=branch(layer.outputs, form="vector"),
    )


def plan_of(layers: tuple[LinearLayer, ...] = LAYERS) -> TflitePlan:
    def one(layer: LinearLayer) -> LayerPlan:
        rank = 4 if layer.groups == 1 else 0
        taps = TapTensors("in", f"{layer.name}/main", None if rank else "out")
        return LayerPlan(rank, "relu", places(layer, rank), places(layer, rank), taps)

    return TflitePlan("pre-activation", "by hand", {layer.name: one(layer) for layer in layers})
