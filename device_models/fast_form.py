"""Whether a bit-plane array has a fast form, and that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement, check_inputs
from device_models.errors import DeviceModelError
from device_models.fast_array import EXTRA_COLUMNS, FastArray
from device_models.fast_check import why_not
from device_models.fast_fit import LEAST_ROWS, Rows, fit
from device_models.periphery import Periphery
from device_models.plane_array import PlaneArray
from device_models.planes import Written
from device_models.shortcuts import LinearArray, linear_array
from device_models.silicon import TileCells
from device_models.streams import stream

MOST_ROWS = 768
"""Typical rows that are looked at; what more would find does not show beside the chip."""

READS = 4
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
    linear = linear_array(held, cells, 0.0, placement.input_bits, model.dac_bits)
    rows = _rows(placement, held, linear, exact, codes)
    reason = why_not(rows)
    if reason:
        return replace(exact, why_exact=reason)
    return _fast_array(placement, held, linear, rows, codes)


def _some(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rows spread evenly over all that there are."""
    if len(codes) <= MOST_ROWS:
        return codes
    return codes[np.linspace(0, len(codes) - 1, MOST_ROWS).astype(int)]


def nominal_matrix(held: Written) -> NDArray[np.float32]:
    """What was meant: [groups, d, m]."""
    parts = [
        held.integers[:, part] * held.scales[:, [block]] for block, part in enumerate(held.blocks)
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _rows(
    placement: Placement,
    held: Written,
    linear: LinearArray,
    exact: PlaneArray,
    codes: NDArray[np.uint8],
) -> Rows:
    """Typical rows, and what the exact path makes of them."""
    generator = stream(placement.seed, placement.layer, "fast form")
    count = READS if exact.converter.is_noisy else 1
    reads = np.stack([exact.multiply(codes, 0, generator) for _ in range(count)])
    reads = reads.astype(np.float64).swapaxes(1, 2)
    driven = codes.swapaxes(0, 1).astype(np.float32)
    nominal = np.matmul(driven, nominal_matrix(held)).astype(np.float64)
    sums = driven.sum(axis=2, dtype=np.float64)
    return Rows(
        nominal=nominal,
        deviation=np.matmul(driven, linear.matrix) - nominal,
        sums=sums / _mean_sums(codes),
        exact=reads.mean(axis=0),
        reading=reads.var(axis=0, ddof=1) if count > 1 else np.zeros_like(nominal),
        reads=count,
    )


def _mean_sums(codes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[groups, 1]: the mean sum of a row's inputs; one where all are idle."""
    means = codes.sum(axis=2, dtype=np.float64).mean(axis=0)[:, None]
    return np.where(means > 0, means, 1.0)


def _fast_array(
    placement: Placement,
    held: Written,
    linear: LinearArray,
    rows: Rows,
    codes: NDArray[np.uint8],
) -> FastArray:
    """Put the statistics of all typical rows into one product."""
    found = fit(rows)
    means = _mean_sums(codes)
    alpha, beta, gamma, constant = np.moveaxis(found.shares[:, None], -1, 0)
    nominal = nominal_matrix(held).astype(np.float64)
    weights = nominal * (1 + alpha) + beta * (linear.matrix - nominal) + gamma / means[:, :, None]
    key = stream(placement.seed, placement.layer, "fast form key")
    groups, inputs, _ = nominal.shape
    most = min(max(_EXACT // (255 * inputs), 2), 256)
    extra = np.ones((groups, inputs, EXTRA_COLUMNS))
    extra[..., 1] = key.integers(1, most, (groups, inputs))
    return FastArray(
        matrix=np.concatenate([weights, extra], axis=2).astype(np.float32),
        constant=constant.astype(np.float32),
        nominal_sums=linear.nominal_sums[:, None],
        mean_sums=means.astype(np.float32),
        rounding=found.rounding,
        reading=found.reading,
        key=int(key.integers(0, 1 << 63)),
        input_bits=placement.input_bits,
    )
