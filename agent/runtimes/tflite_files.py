"""The files of the runtime tflite in a bundle, checked before anything is done with them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from agent.errors import BundleError
from agent.runtimes.tflite_interpreter import TfliteModel
from agent.runtimes.tflite_patch import check_places
from agent.runtimes.tflite_plan import (
    FILE_NAME,
    MODEL_NAME,
    TAPS_NAME,
    LayerPlaces,
    TflitePlan,
    decode_plan,
    probe_name,
)
from calib.packed import PackedNetwork


def checked_plan(network: PackedNetwork, files: Mapping[str, bytes]) -> TflitePlan:
    """The plan among a bundle's files, once it and the files have been found to fit the network.

    Raises:
        BundleError: a file is missing, damaged, or of another network.
    """
    probes = [probe_name(index) for index in range(len(network.layers))]
    missing = [n for n in (FILE_NAME, MODEL_NAME, TAPS_NAME, *probes) if n not in files]
    if missing:
        raise BundleError(
            f"the bundle has no file {missing[0]}, which the runtime tflite needs; pack the model "
            "again"
        )
    plan = decode_plan(files[FILE_NAME], network.layers)
    for tapped, name in ((False, MODEL_NAME), (True, TAPS_NAME)):
        check_places(files[name], places_in(plan, tapped=tapped), network, name)
    return plan


def check_loaded(model: TfliteModel, name: str, shape: tuple[int, ...], outputs: set[str]) -> None:
    """Refuse a file of another network: its input for one sample or row, and named outputs.

    Raises:
        BundleError: it is of another network.
    """
    found, wanted = math.prod(model.input_shape[1:]), math.prod(shape)
    missing = sorted(outputs - set(model.codes))
    if found == wanted and not missing:
        return
    reason = f"has no output {missing[0]}" if missing else f"takes {found} numbers, not {wanted}"
    raise BundleError(f"{name} {reason}; it is of another network: pack the model again")


def places_in(plan: TflitePlan, *, tapped: bool) -> dict[str, LayerPlaces]:
    """By layer, the places in the file with taps or in the one in use."""
    return {name: one.taps if tapped else one.model for name, one in plan.layers.items()}
