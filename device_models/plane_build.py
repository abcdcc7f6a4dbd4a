"""From the cells of a chip to the arrays that multiply: in steps of converters with a range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement, check_inputs
from device_models.converter import Converter, converter
from device_models.errors import DeviceModelError
from device_models.periphery import CALIBRATED, Periphery
from device_models.plane_array import Columns, PlaneArray
from device_models.planes import Slices, Written, shift_add_matrix, slices, stack_slices
from device_models.silicon import TileCells


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
        shift_add=shift_add_matrix(held.bits, held.integers.shape[2]),
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
        stacked = stack_slices(codes[:, :, tile.tile.rows], cut, cut.all)
        groups, count, n, height = stacked.shape
        matrix = _with_offsets(tile)
        sums = np.matmul(stacked.reshape(groups, count * n, height), matrix)
        reach = max(reach, float(sums.max()))
    return reach


def _columns(model: Periphery, cells: TileCells, chain: Converter) -> Columns:
    matrix = _with_offsets(cells)
    matrix /= np.float32(chain.step_counts)
    idle = chain.convert(matrix[:, -1:].copy(), None, cells.errors)
    far = _far(matrix, model, chain) if model.ir_drop else None
    return Columns(cells.tile.rows, cells.tile.block, matrix, idle, cells.errors, far)


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
