"""The `.tflite` files of a bundle, and the plan that says where the layers' numbers stand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agent.runtimes.tflite_plan import (
    FILE_NAME,
    MODEL_NAME,
    TAPS_NAME,
    VECTOR,
    LayerPlaces,
    LayerPlan,
    Place,
    TflitePlan,
    encode_plan,
    probe_name,
)
from agent.workstation.tflite.codes import file_codes, found_codes
from agent.workstation.tflite.design import ACTIVATION_NAMES, Design, designs_of
from agent.workstation.tflite.edit import Recipe, WrittenGraph, WrittenLayer, written_graph
from agent.workstation.tflite.probes import probe_file
from agent.workstation.tflite.source import TfliteSource
from calib.importers.tflite_schema import DataPlace, data_places, made_with
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork


def tflite_files(
    source: TfliteSource,
    network: PackedNetwork,
    samples: NDArray[np.float32],
    ranks: Mapping[str, int],
    surrogates_at: str,
) -> dict[str, bytes]:
    """What the runtime tflite needs in a bundle.

    Args:
        source: the user's file.
        network: the same, packed with the codes of the file or their spans prescribed.
        samples: [n, ...], those that codes are found on.
        ranks: by layer, of its branch; 0: it has none.
        surrogates_at: one of `SURROGATES_AT`.

    Raises:
        InputError: something that integer kernels do not have; the sentence says what.
    """
    mains = output_codes(source.graph, network, samples)
    codes = file_codes(source) if source.is_quantised else found_codes(source, network, samples)
    designs = designs_of(source, network, mains, ranks, surrogates_at)
    recipe = Recipe(source, codes, designs, surrogates_at)
    model, taps = (written_graph(recipe, tapped=tapped) for tapped in (False, True))
    plan = TflitePlan(surrogates_at, made_with(), _layer_plans(designs, model, taps))
    probes = {probe_name(i): probe_file(one) for i, one in enumerate(_in_order(network, designs))}
    return {
        FILE_NAME: encode_plan(plan),
        MODEL_NAME: model.content,
        TAPS_NAME: taps.content,
        **probes,
    }


def _in_order(network: PackedNetwork, designs: Mapping[int, Design]) -> list[Design]:
    by_name = {design.layer.name: design for design in designs.values()}
    return [by_name[layer.name] for layer in network.layers]


def _layer_plans(
    designs: Mapping[int, Design], model: WrittenGraph, taps: WrittenGraph
) -> dict[str, LayerPlan]:
    in_model, in_taps = data_places(model.content), data_places(taps.content)
    plans = {}
    for design in designs.values():
        name = design.layer.name
        plans[name] = LayerPlan(
            rank=design.rank,
            activation=ACTIVATION_NAMES[design.activation],
            model=_places(design, model.layers[name], in_model),
            taps=_places(design, taps.layers[name], in_taps),
            tap_tensors=taps.taps[name],
        )
    return plans


def _places(design: Design, written: WrittenLayer, where: list[DataPlace]) -> LayerPlaces:
    weights, bias = where[written.product.weights], where[written.product.bias]
    outputs, each = (design.layer.outputs,), design.scales.shape
    a = b = b_bias = None
    if (branch := written.branch) is not None:
        a_form = "OI" if design.form == "OI" else "OHWI"
        a_shape = (design.rank, *design.weight_shape[1:])
        b_shape = (*outputs, *(() if design.form == "OI" else (1, 1)), design.rank)
        a = _place(where[branch.a].data, a_shape, "float32", a_form)
        b = _place(where[branch.b].data, b_shape, "float32", a_form)
        b_bias = _place(where[branch.b_bias].data, outputs, "float32", VECTOR)
    return LayerPlaces(
        weights=_place(weights.data, design.weight_shape, "int8", design.form),
        scales=_place(weights.scales, each, "float32", VECTOR),
        bias=_place(bias.data, outputs, "int32", VECTOR),
        bias_scales=_place(bias.scales, each, "float32", VECTOR),
        a=a,
        b=b,
        b_bias=b_bias,
    )


def _place(offset: int | None, shape: tuple[int, ...], dtype: str, form: str) -> Place:
    if offset is None:
        raise ValueError(f"a tensor of shape {list(shape)} has been written without contents")
    return Place(offset, shape, dtype, form)
