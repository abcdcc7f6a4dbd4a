"""TFLite's operators that move, cut and join elements, and its batched matrix product."""

from __future__ import annotations

import numpy as np

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array
from calib.importers.tflite_builder import Builder, slots
from calib.importers.tflite_file import Operator
from calib.importers.tflite_windows import finish


def reshape(builder: Builder, operator: Operator) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the file declares the shape that results."""
    name = builder.layer_name(operator)
    shape = builder.indices(f"{name}/shape", builder.shape(operator.outputs[0]))
    result = builder.node("Reshape", name, [builder.flat(operator.inputs[0]), shape])[0]
    builder.define(operator.outputs[0], result)


def transpose(builder: Builder, operator: Operator) -> None:
    """TRANSPOSE by a constant permutation."""
    perm = builder.integers(operator.inputs[1], "permutation")
    source = builder.last(operator.inputs[0])
    result = builder.node("Transpose", builder.layer_name(operator), [source], perm=perm)[0]
    builder.define(operator.outputs[0], result)


def padding(builder: Builder, operator: Operator) -> None:
    """PAD and PADV2 by constant widths [axes, 2]."""
    (source,), first = builder.either(operator.inputs[:1])
    widths = np.asarray(builder.known(operator.inputs[1], "widths"), np.int64)
    rank = len(builder.shape(operator.inputs[0]))
    if widths.shape != (rank, 2):
        raise GraphError(f"widths of shape {list(widths.shape)} do not fit {rank} axes")
    placed = np.zeros((2, rank), np.int64)
    placed[:, slots(tuple(range(rank)), rank, first=first)] = widths.T
    name = builder.layer_name(operator)
    inputs = [source, builder.constant(f"{name}/pads", placed.reshape(-1))]
    if len(operator.inputs) > 2:
        fill = builder.known(operator.inputs[2], "fill").reshape(())
        inputs.append(builder.constant(f"{name}/fill", fill))
    result = builder.node("Pad", name, inputs, mode="constant")[0]
    builder.define(operator.outputs[0], result, first=first)


def concatenation(builder: Builder, operator: Operator) -> None:
    """CONCATENATION along one axis."""
    rank = len(builder.shape(operator.outputs[0]))
    if any(len(builder.shape(i)) != rank for i in operator.inputs):
        raise GraphError("it joins tensors of different numbers of axes")
    inputs, first = builder.either(operator.inputs)
    (axis,) = slots((operator.options["axis"],), rank, first=first)
    result = builder.node("Concat", builder.layer_name(operator), inputs, axis=axis)[0]
    finish(builder, operator, result, first=first)


def split(builder: Builder, operator: Operator) -> None:
    """SPLIT (axis, data) and SPLIT_V (data, sizes, axis)."""
    even = operator.code == "SPLIT"
    data, axis = (1, 0) if even else (0, 2)
    (source,), first = builder.either((operator.inputs[data],))
    along = builder.integers(operator.inputs[axis], "axis")
    rank = len(builder.shape(operator.inputs[data]))
    (slot,) = slots(along, rank, first=first)
    sizes = tuple(builder.shape(o)[along[0]] for o in operator.outputs)
    name = builder.layer_name(operator)
    inputs = [source, builder.indices(f"{name}/sizes", sizes)]
    made = builder.node("Split", name, inputs, outputs=len(sizes), axis=slot)
    for tensor, result in zip(operator.outputs, made, strict=True):
        builder.define(tensor, result, first=first)


def cut(builder: Builder, operator: Operator) -> None:
    """SLICE by constant begins and sizes (−1: up to the end)."""
    begins = builder.integers(operator.inputs[1], "begin")
    sizes = builder.integers(operator.inputs[2], "size")
    shape = builder.shape(operator.inputs[0])
    _same_length(shape, begins, sizes)
    ends = [n if size < 0 else b + size for b, size, n in zip(begins, sizes, shape, strict=True)]
    steps = [slice(b, e, 1) for b, e in zip(begins, ends, strict=True)]
    result, first = _sliced(builder, operator, steps)
    builder.define(operator.outputs[0], result, first=first)


def strided(builder: Builder, operator: Operator) -> None:
    """STRIDED_SLICE with constant bounds; axes cut to one element may be dropped."""
    masks = operator.options
    if masks["ellipsis_mask"] or masks["new_axis_mask"] or masks["offset"]:
        raise UnsupportedError("ellipses, new axes and offsets in a slice are not supported")
    begins = builder.integers(operator.inputs[1], "begin")
    ends = builder.integers(operator.inputs[2], "end")
    strides = builder.integers(operator.inputs[3], "stride")
    _same_length(builder.shape(operator.inputs[0]), begins, ends, strides)
    steps = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        if masks["shrink_axis_mask"] >> axis & 1:
            steps.append(slice(begin, begin + 1 or None, 1))
        else:
            open_begin, open_end = masks["begin_mask"] >> axis & 1, masks["end_mask"] >> axis & 1
            steps.append(slice(None if open_begin else begin, None if open_end else end, stride))
    result, first = _sliced(builder, operator, steps)
    if masks["shrink_axis_mask"]:
        result, first = _shrunk(builder, operator, result, first=first), False
    builder.define(operator.outputs[0], result, first=first)


def _same_length(shape: tuple[int, ...], *lists: tuple[int, ...]) -> None:
    if any(len(values) != len(shape) for values in lists):
        raise GraphError(f"its bounds do not name all {len(shape)} axes")


def _sliced(builder: Builder, operator: Operator, steps: list[slice]) -> tuple[str, bool]:
    """A Slice of the axes that are really cut, so that the batch axis stays free."""
    shape = builder.shape(operator.inputs[0])
    (source,), first = builder.either(operator.inputs[:1])
    bounds = [step.indices(size) for step, size in zip(steps, shape, strict=True)]
    axes = [a for a, size in enumerate(shape) if bounds[a] != (0, size, 1)]
    if not axes:
        return source, first
    if any(bounds[a][2] < 0 for a in axes):
        raise UnsupportedError("slices that run backwards are not supported")
    name = builder.layer_name(operator)
    lists = [tuple(bounds[a][part] for a in axes) for part in range(3)]
    lists.insert(2, slots(tuple(axes), len(shape), first=first))
    inputs = [
        builder.indices(f"{name}/{what}", values)
        for what, values in zip(("starts", "ends", "axes", "steps"), lists, strict=True)
    ]
    return builder.node("Slice", name, [source, *inputs])[0], first


def _shrunk(builder: Builder, operator: Operator, source: str, *, first: bool) -> str:
    if first:
        source = builder.node("Transpose", f"{source}/nhwc", [source], perm=(0, 2, 3, 1))[0]
    shape = builder.indices(f"{source}/shape", builder.shape(operator.outputs[0]))
    return builder.node("Reshape", f"{source}/shrunk", [source, shape])[0]


def gather(builder: Builder, operator: Operator) -> None:
    """GATHER along one axis."""
    if operator.options["batch_dims"]:
        raise UnsupportedError("gathering with batch dimensions is not supported")
    inputs = [builder.last(i) for i in operator.inputs]
    axis = int(operator.options["axis"])
    result = builder.node("Gather", builder.layer_name(operator), inputs, axis=axis)[0]
    builder.define(operator.outputs[0], result)


def batch_matmul(builder: Builder, operator: Operator) -> None:
    """BATCH_MATMUL, either operand adjoint."""
    name = builder.layer_name(operator)
    flags = (operator.options["adj_x"], operator.options["adj_y"])
    inputs = [
        _adjoint(builder, tensor, name) if flag else builder.last(tensor)
        for tensor, flag in zip(operator.inputs, flags, strict=True)
    ]
    builder.define(operator.outputs[0], builder.node("MatMul", name, inputs)[0])


def _adjoint(builder: Builder, tensor: int, name: str) -> str:
    value: Array | None = builder.value(tensor)
    if value is not None:
        return builder.constant(f"{name}/weight", np.ascontiguousarray(value.swapaxes(-1, -2)))
    rank = len(builder.shape(tensor))
    perm = (*range(rank - 2), rank - 1, rank - 2)
    source = builder.last(tensor)
    return builder.node("Transpose", f"{source}/adjoint", [source], perm=perm)[0]


def requantised(builder: Builder, operator: Operator) -> None:
    """QUANTIZE and DEQUANTIZE: the same values, for activations are taken as float here."""
    builder.alias(operator.outputs[0], operator.inputs[0])
