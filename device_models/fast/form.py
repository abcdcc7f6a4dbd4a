"""Whether a bit-plane array has a fast form, and that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement, check_inputs
from device_models.errors import DeviceModelError
from device_models.fast.array import FastArray
from device_models.fast.check import why_not
from device_models.fast.fit import LEAST_ROWS, Fit, Rows, fit
from device_models.sram.periphery import Periphery
from device_models.sram.plane_array import PlaneArray
from device_models.sram.planes import Written
from device_models.sram.shortcuts import LinearArray, linear_array
from device_models.sram.silicon import TileCells
from device_models.streams import stream

MOST_ROWS = 1024
"""Typical rows that are looked at; what more would find does not show beside the chip."""

READS = 2
"""Of each typical row, where reads differ."""

_EXACT = 1 << 24


def fast_form(
    model: Periphery,
    placement: Placement,
    held: Written,
    cells: Sequence[TileCells],
    exact: PlaneArray,
) -> FastArray | PlaneArray:
    """The fast form of an array; where it has none, the array itself, which then says why.

    Raises:
        DeviceModelError: no typical inputs.
    """
    if placement.typical is None:
        raise DeviceModelError(
            f"layer {placement.layer}: a fast form is fitted to typical inputs, and there are "
            "none; give them, or take the exact path"
        )
    if model.bends:
        return replace(exact, why_exact="its converters or its columns bend what they pass on")
    codes = placement.typical()
    check_inputs(codes, placement.weights.codes.shape[:2], placement.input_bits)
    codes = _some(codes)
    if len(codes) < LEAST_ROWS:
        reason = f"{len(codes)} typical rows; a fast form is fitted to at least {LEAST_ROWS}"
        return replace(exact, why_exact=reason)
    layer = _layer(placement, held, linear_array(held, cells, 0, exact.input_bits, model.dac_bits))
    sums = np.matmul(codes.swapaxes(0, 1).astype(np.float32), layer.probe)[..., 0]
    means = sums.mean(axis=1, dtype=np.float64, keepdims=True)
    means[means == 0] = 1  # a group that nothing ever drives
    rows = _rows(layer, exact, codes, sums / means)
    misfit = why_not(rows)
    if misfit:
        return replace(exact, why_exact=misfit)
    return _fast_array(layer, fit(rows), means)


@dataclass(frozen=True)
class _Layer:
    placement: Placement
    nominal: NDArray[np.float32]
    """[groups, d, m]: the weights that were meant."""

    linear: LinearArray
    """The chip without its converters."""

    probe: NDArray[np.float32]
    """[groups, d, 1]"""


def _some(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows spread evenly over all that there are."""
    if len(codes) <= MOST_ROWS:
        return codes
    picked: NDArray[np.uint8] = codes[np.linspace(0, len(codes) - 1, MOST_ROWS).astype(int)]
    return picked


def _layer(placement: Placement, held: Written, linear: LinearArray) -> _Layer:
    parts = [
        held.integers[:, part] * held.scales[:, [block]] for block, part in enumerate(held.blocks)
    ]
    groups, inputs, _ = placement.weights.codes.shape
    most = min(_EXACT // (255 * inputs), 256)  # float32 holds the sum of all
    lot = stream(placement.seed, placement.layer, "fast form probe")
    probe = lot.integers(most // 2 + 1, most + 1, (groups, inputs, 1)).astype(np.float32)
    return _Layer(placement, np.concatenate(parts, axis=1).astype(np.float32), linear, probe)


def _rows(
    layer: _Layer, exact: PlaneArray, codes: NDArray[np.uint8], sums: NDArray[np.float64]
) -> Rows:
    """Typical rows, and what the exact path makes of them."""
    generator = stream(layer.placement.seed, layer.placement.layer, "fast form reads")
    count = READS if exact.converter.is_noisy else 1
    each = np.stack([exact.multiply(codes, 0, generator) for _ in range(count)])
    reads = each.astype(np.float64).swapaxes(1, 2)
    driven = codes.swapaxes(0, 1).astype(np.float32)
    nominal = np.matmul(driven, layer.nominal).astype(np.float64)
    return Rows(
        nominal=nominal,
        deviation=np.matmul(driven, layer.linear.matrix) - nominal,
        sums=sums,
        exact=reads.mean(axis=0),
        reading=reads.var(axis=0, ddof=1) if count > 1 else np.zeros_like(nominal),
        reads=count,
    )


def _fast_array(layer: _Layer, found: Fit, means: NDArray[np.float64]) -> FastArray:
    """Put the statistics of a layer into one product."""
    alpha, beta, gamma, constant = np.moveaxis(found.shares[:, None], -1, 0)
    nominal = layer.nominal.astype(np.float64)
    busy = gamma * (layer.probe / means[:, :, None])
    weights = nominal * (1 + alpha) + beta * (layer.linear.matrix - nominal) + busy
    lot = stream(layer.placement.seed, layer.placement.layer, "fast form key")
    return FastArray(
        matrix=weights.astype(np.float32),
        constant=constant.astype(np.float32),
        nominal_sums=layer.linear.nominal_sums[:, None],
        probe=layer.probe,
        mean_sums=means.astype(np.float32),
        rounding=found.rounding,
        reading=found.reading,
        key=int(lot.integers(0, 1 << 63)),
        input_bits=layer.placement.input_bits,
    )
