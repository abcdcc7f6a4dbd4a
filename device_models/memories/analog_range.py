"""What the top code of the converters of a layer stands for, and what one step is.

See `device_models.memories.analog_periphery` for the three ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement, check_inputs
from device_models.errors import DeviceModelError
from device_models.memories.analog_array import drive
from device_models.memories.analog_periphery import NAME, AnalogPeriphery
from device_models.sram.periphery import CALIBRATED, LOSSLESS
from device_models.sram.planes import slices


@dataclass(frozen=True)
class Range:
    """Of the converters of one layer, in counts."""

    full_counts: float
    """The full scale."""

    step_counts: float
    """One code; one count where nothing is converted."""


def largest_input(model: AnalogPeriphery, input_bits: int) -> int:
    """What a row is driven by at most in one slice."""
    return (1 << min(model.dac_bits, input_bits)) - 1


def layer_range(
    model: AnalogPeriphery,
    placement: Placement,
    tiles: Sequence[tuple[slice, NDArray[np.float32]]],
) -> Range:
    """The range of a layer's converters.

    Args:
        model: How it is chosen.
        placement: The layer.
        tiles: The rows of each tile, and what their pairs add to their columns, in counts
            [groups, rows, m].

    Raises:
        DeviceModelError: a calibrated range without typical inputs, or a lossless one of weights
            that are no whole numbers, or of too few bits.
    """
    largest = largest_input(model, placement.input_bits)
    if model.adc_range == LOSSLESS:
        tallest = max(rows.stop - rows.start for rows, _ in tiles)
        return _lossless(model, placement, tallest * largest)
    reach = float(model.rows * largest)
    if model.adc_range == CALIBRATED and model.uses_range:
        reach = _typical_reach(model, placement, tiles) or reach
    full = model.full_scale * reach
    return Range(full, full / model.top_code if model.top_code else 1.0)


def _lossless(model: AnalogPeriphery, placement: Placement, most_counts: int) -> Range:
    if model.top_code is None:
        return Range(float(most_counts), 1.0)
    weights = placement.weights
    if weights.codebook is not None:
        raise DeviceModelError(
            f"layer {placement.layer}: a lossless range needs weights in whole numbers, and "
            f'these are of a codebook; take {NAME}.adc_range = "calibrated" or "fraction"'
        )
    largest_code = int(np.abs(weights.codes.astype(np.int16)).max()) or 1
    bits = 1 + (most_counts * largest_code).bit_length()
    if model.top_code < most_counts * largest_code:
        raise DeviceModelError(
            f"layer {placement.layer}: a lossless range of {most_counts * largest_code} on either "
            f"side of zero needs {bits} {NAME}.adc_bits, and there are {model.adc_bits}; give "
            "more, fewer rows or dac_bits, or another adc_range"
        )
    return Range(float(most_counts), 1 / largest_code)


def _typical_reach(
    model: AnalogPeriphery,
    placement: Placement,
    tiles: Sequence[tuple[slice, NDArray[np.float32]]],
) -> float:
    """The largest magnitude of a column sum, in counts, of the layer's typical inputs."""
    if placement.typical is None:
        raise DeviceModelError(
            f"layer {placement.layer}: a calibrated range needs typical inputs, and there are "
            f'none; give them, or take {NAME}.adc_range = "fraction"'
        )
    codes = placement.typical()
    check_inputs(codes, placement.weights.codes.shape[:2], placement.input_bits)
    signed = codes.swapaxes(0, 1).astype(np.int16) - np.int16(placement.zero_point)
    cut = slices(placement.input_bits, model.dac_bits)
    reach = 0.0
    for rows, matrix in tiles:
        sums = np.matmul(drive(signed[:, :, rows], cut), matrix)
        reach = max(reach, float(np.abs(sums).max(initial=0.0)))
    return reach
