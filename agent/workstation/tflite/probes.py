"""Models of one layer alone, which its rows are driven through."""

from __future__ import annotations

from dataclasses import replace

from agent.workstation.tflite.design import Design
from agent.workstation.tflite.layers import ONE_TAP, product
from agent.workstation.tflite.writer import Writer

ROWS = 128
"""That a run takes."""


def probe_file(design: Design) -> bytes:
    """The layer's nominal kernel, without activation, on codes of many rows.

    The input is [rows, 1, 1, d] for a convolution, [rows, d] for a FULLY_CONNECTED, and one window
    a row, [rows, height, width, channels], where a convolution has groups; see
    `calib.tflite_layout.row_tensor`.
    """
    writer, layer = Writer(), design.layer
    flat = design.kernel == "FULLY_CONNECTED"
    made: tuple[int, ...] = (ROWS, layer.outputs) if flat else (ROWS, 1, 1, layer.outputs)
    if flat:
        read: tuple[int, ...] = (ROWS, layer.inputs)
    elif layer.groups == 1:
        read = (ROWS, 1, 1, layer.inputs)
        design = replace(design, weight_shape=(layer.outputs, *read[1:]))
    else:
        channels = layer.groups * layer.inputs // (design.weight_shape[1] * design.weight_shape[2])
        read = (ROWS, *design.weight_shape[1:3], channels)
    geometry = {**({} if design.is_reshaped else design.options), **({} if flat else ONE_TAP)}
    source = writer.codes(f"{layer.name}/rows", read, design.given)
    kernel = product(
        writer, design, source, made, label=layer.name, code=design.main, geometry=geometry
    )
    return writer.file([source], [kernel.output])
