"""A float TFLite model as a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Graph, Port
from calib.importers import tflite_elementwise as elementwise
from calib.importers import tflite_shapes as moves
from calib.importers import tflite_windows as windows
from calib.importers.batch import free_batch
from calib.importers.tflite_builder import Builder
from calib.importers.tflite_file import Model, Operator, Tensor, read_tflite

Handler = Callable[[Builder, Operator], None]

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(elementwise.BINARY, elementwise.binary),
    **dict.fromkeys(elementwise.BOUNDS, elementwise.bounded),
    "AVERAGE_POOL_2D": windows.pool,
    "BATCH_MATMUL": moves.batch_matmul,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": windows.convolution,
    "DEPTHWISE_CONV_2D": windows.depthwise,
    "DEQUANTIZE": moves.dequantize,
    "EXPAND_DIMS": moves.reshape,
    "FULLY_CONNECTED": windows.fully_connected,
    "GATHER": moves.gather,
    "GELU": elementwise.gelu,
    "LEAKY_RELU": elementwise.leaky,
    "LOG_SOFTMAX": elementwise.softmax,
    "MAX_POOL_2D": windows.pool,
    "MEAN": elementwise.reduction,
    "PAD": moves.padding,
    "PADV2": moves.padding,
    "RESHAPE": moves.reshape,
    "RSQRT": elementwise.reciprocal_root,
    "SLICE": moves.cut,
    "SOFTMAX": elementwise.softmax,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split,
    "SQUARE": elementwise.square,
    "SQUARED_DIFFERENCE": elementwise.square,
    "SQUEEZE": moves.reshape,
    "STRIDED_SLICE": moves.strided,
    "SUM": elementwise.reduction,
    "TRANSPOSE": moves.transpose,
}


def read_graph(content: bytes, path: Path) -> Graph:
    """The graph of a TFLite file, for any batch size.

    Raises:
        GraphError: the file is damaged or contradicts itself.
        UnsupportedError: a quantised model, an operator or a form of it that is not implemented.
    """
    return free_batch(graph_of(read_tflite(content, str(path)), path.stem))


def graph_of(model: Model, name: str) -> Graph:
    """The graph of a model; its shapes hold for the file's own batch size.

    Raises:
        GraphError: the file contradicts itself.
        UnsupportedError: a quantised model, an operator or a form of it that is not implemented.
    """
    source, result = _ends(model)
    _check_float(model)
    builder = Builder(model)
    port = Port(builder.reserve(_port_name(model.tensors[source])), model.tensors[source].shape)
    builder.define(source, port.name)
    for operator in _live(model, result):
        _add(builder, operator)
    output = builder.last(result)
    return Graph(name, port, output, tuple(builder.nodes), builder.constants)


def _ends(model: Model) -> tuple[int, int]:
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1 or tensors[0] < 0:
            names = ", ".join(model.tensors[t].name for t in tensors)
            raise UnsupportedError(
                f"the model has {len(tensors)} {what} ({names}); a network here has one input and "
                "one output: export it cut down to those"
            )
    return model.inputs[0], model.outputs[0]


def _check_float(model: Model) -> None:
    """Raise UnsupportedError unless the tensors that are computed are float."""
    for tensor in (model.tensors[model.inputs[0]], *model.tensors):
        if tensor.value is None and tensor.quantization and tensor.type != "FLOAT32":
            raise UnsupportedError(
                f"the model is quantised already (tensor {tensor.name!r} is {tensor.type}); give "
                "the float model, from which the quantised one was made"
            )
    source = model.tensors[model.inputs[0]]
    if source.type != "FLOAT32":
        raise UnsupportedError(
            f"the model's input {source.name!r} is {source.type}; only FLOAT32 is supported"
        )
    if not source.shape or min(source.shape) < 1 or -1 in source.signature[1:]:
        raise UnsupportedError(
            f"the model's input {source.name!r} has shape {list(source.signature)}; all sizes but "
            "the first, the batch, must be fixed: export the model with a fixed input shape"
        )


def _live(model: Model, result: int) -> list[Operator]:
    """The operators that the output needs; a RESHAPE needs no computed shape."""
    needed, live = {result}, []
    for operator in reversed(model.operators):
        if needed.intersection(operator.outputs):
            live.append(operator)
            count = 1 if HANDLERS.get(operator.code) is moves.reshape else None
            needed.update(operator.inputs[:count])
    return live[::-1]


def _port_name(tensor: Tensor) -> str:
    return tensor.name.split(":")[0] or "input"


def _add(builder: Builder, operator: Operator) -> None:
    name = builder.layer_name(operator)
    if operator.code not in HANDLERS:
        raise UnsupportedError(
            f"operator {name!r} is a {operator.code}, which is not supported; supported are: "
            + ", ".join(sorted(HANDLERS))
        )
    if not operator.inputs or not operator.outputs or min(operator.outputs) < 0:
        raise GraphError(f"operator {name!r} ({operator.code}) has no inputs or no outputs")
    try:
        HANDLERS[operator.code](builder, operator)
    except UnsupportedError as error:
        raise UnsupportedError(f"operator {name!r} ({operator.code}): {error}") from error
    except GraphError as error:
        raise GraphError(f"operator {name!r} ({operator.code}): {error}") from error
