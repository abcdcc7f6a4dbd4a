"""From the cells of a chip to the arrays that multiply: in steps of converters with a range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement, check_inputs
from device_models.errors import DeviceModelError
from device_models.sram.column_errors import NO_ERRORS, ColumnErrors
from device_models.sram.converter import Converter, converter
from device_models.sram.periphery import CALIBRATED, Periphery
from device_models.sram.plane_array import Columns, PlaneArray
from device_models.sram.planes import Slices, Written, shift_add_matrix, slices, stack_slices
from device_models.sram.silicon import TileCells


def plane_array(
    model: Periphery, placement: Placement, held: Written, cells: Sequence[TileCells]
) -> PlaneArray:
    """Bring the cells of a chip into the form that multiplies fastest.

    Raises:
        DeviceModelError: a calibrated range without typical inputs.
    """
    cut = slices(placement.input_bits, model.dac_bits)
    chain = _converter(model, placement, cells, cut)
    return PlaneArray(
        written=held,
        columns=tuple(_columns(model, tile, chain) for tile in cells),
        converter=chain,
        shift_add=shift_add_matrix(held.bits, held.integers.shape[2], _largest(chain, cut)),
        slices=cut,
        input_bits=placement.input_bits,
    )


def _converter(
    model: Periphery, placement: Placement, cells: Sequence[TileCells], cut: Slices
) -> Converter:
    """The converter at the foot of each column of a layer."""
    reach = float(model.most_counts)
    if model.adc_range == CALIBRATED and model.adc_bits is not None:
        reach = min(_typical_reach(placement, cells, cut), reach)
    return converter(
        max(model.full_scale * reach, 1.0),
        model.adc_bits,
        model.noise_counts(placement.state),
        model.nonlinear_noise_counts,
        model.reads,
    )


def _typical_reach(placement: Placement, cells: Sequence[TileCells], cut: Slices) -> float:
    """The largest column sum, in counts, of the layer's typical inputs on this chip."""
    if placement.typical is None:
        raise DeviceModelError(
            f"layer {placement.layer}: a calibrated range needs typical inputs, and there are "
            'none; give them, or take adc_range = "fraction"'
        )
    codes = placement.typical()
    check_inputs(codes, placement.weights.codes.shape[:2], placement.input_bits)
    codes = codes.swapaxes(0, 1)
    reach = 0.0
    for tile in cells:
        driven = codes[:, :, tile.tile.rows]
        groups, n, inputs = driven.shape
        count, height = cut.count, inputs + 1
        stacked = np.empty((groups, count, n, height), np.float32)
        stack_slices(driven, cut, cut.all, stacked)
        matrix = _with_offsets(tile)
        sums = np.matmul(stacked.reshape(groups, count * n, height), matrix)
        reach = max(reach, float(sums.max()))
    return reach


def _largest(chain: Converter, cut: Slices) -> float | None:
    """What the codes of one weight plane add up to, over all input slices."""
    return None if chain.top_code is None else chain.top_code * float(cut.worth(cut.all).sum())


def _columns(model: Periphery, cells: TileCells, chain: Converter) -> Columns:
    matrix = _with_offsets(cells)
    matrix /= np.float32(chain.step_counts)
    on_grid(matrix, (1 << model.dac_bits) - 1)
    idle = chain.convert(matrix[:, -1:].copy(), None, cells.errors)
    return Columns(
        rows=cells.tile.rows,
        block=cells.tile.block,
        matrix=matrix,
        idle=idle,
        settled=_is_settled(chain, matrix[:, -1:], cells.errors),
        errors=cells.errors,
        far=_far(matrix, model, chain) if model.ir_drop else None,
    )


def on_grid(matrix: NDArray[np.float32], most_input: int) -> None:
    """Move each column's cells [groups, rows, columns] to a grid, in place.

    It is as fine as can be while the sum of all of a column's cells, driven by the largest input,
    is less than 2^24 steps of the grid: then float32 holds every sum of some of them exactly. That
    is 2^-15 counts for a sum of up to 256, about what rounding such a sum in float32 costs anyway.
    """
    reach = np.abs(matrix).sum(axis=1, dtype=np.float64, keepdims=True) * most_input
    _, exponent = np.frexp(reach)
    steps = np.exp2(np.clip(23 - exponent, -60, 60)).astype(np.float32)
    matrix *= steps
    np.rint(matrix, out=matrix)
    matrix /= steps


def _is_settled(chain: Converter, offsets: NDArray[np.float32], errors: ColumnErrors) -> bool:
    """Whether no noise changes the code of a column that nothing drives."""
    if not chain.is_noisy:
        return True
    if chain.nonlinear_noise_steps or errors is not NO_ERRORS or chain.top_code is None:
        return False
    most = np.float32(chain.most_noise_steps)
    low, high = (chain.convert(offsets + shift, None) for shift in (-most, most))
    return bool(np.array_equal(low, high))


def _with_offsets(cells: TileCells) -> NDArray[np.float32]:
    """Cells and, as a last row, offsets: [groups, rows + 1, planes·m], in counts."""
    groups, height = cells.counts.shape[:2]
    offsets = cells.offsets.reshape(groups, 1, -1)
    counts = cells.counts.reshape(groups, height, -1)
    matrix: NDArray[np.float32] = np.concatenate([counts, offsets], axis=1)
    return matrix


def _far(matrix: NDArray[np.float32], model: Periphery, chain: Converter) -> NDArray[np.float32]:
    """What each cell loses for each step of its column's sum, in steps."""
    height = matrix.shape[1] - 1
    distance = (np.arange(height + 1, dtype=np.float32) + np.float32(0.5)) / model.rows
    distance[-1] = 0  # the offset is the converter's own
    full_steps = model.most_counts / chain.step_counts
    losses = (distance * np.float32(model.ir_drop / full_steps)).astype(np.float32)
    return matrix * losses[:, None]
