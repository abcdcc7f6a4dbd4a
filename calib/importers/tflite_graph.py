"""A TFLite model as a graph: a float one, or what the codes of a quantised one stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array, Graph, Port
from calib.importers import tflite_elementwise as elementwise
from calib.importers import tflite_shapes as moves
from calib.importers import tflite_windows as windows
from calib.importers.batch import free_batch
from calib.importers.tflite_builder import Builder
from calib.importers.tflite_file import Model, Operator, Tensor, read_tflite
from calib.importers.tflite_forms import check_form

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
    "DEQUANTIZE": moves.requantised,
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
    "QUANTIZE": moves.requantised,
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
        UnsupportedError: an operator, or a form of quantisation, that is not implemented.
    """
    return free_batch(graph_of(read_tflite(content, str(path)), path.stem))


def graph_of(model: Model, name: str) -> Graph:
    """The graph of a model; its shapes hold for the file's own batch size.

    Raises:
        GraphError: the file contradicts itself.
        UnsupportedError: an operator, or a form of quantisation, that is not implemented.
    """
    return traced(model, name).graph


@dataclass(frozen=True)
class Origin:
    """A model's graph, and where in the file each part of it comes from."""

    graph: Graph
    carriers: Mapping[int, tuple[str, ...]]
    """By number of a computed tensor: what has its values, as the file lays them out or not."""

    constants: Mapping[int, Array]
    """By number of a constant tensor: its values, dequantised."""

    operators: Mapping[str, int]
    """By name of a node: the number of its operator."""

    live: tuple[int, ...]
    """The operators that the output needs."""


def traced(model: Model, name: str) -> Origin:
    """The graph of a model with its origin, see `graph_of`."""
    source, result = _ends(model)
    check_form(model)
    builder = Builder(model)
    port = Port(builder.reserve(_port_name(model.tensors[source])), model.tensors[source].shape)
    builder.define(source, port.name)
    live = _live(model, result)
    operators: dict[str, int] = {}
    for number in live:
        before = len(builder.nodes)
        _add(builder, model.operators[number])
        operators.update((node.name, number) for node in builder.nodes[before:])
    output = builder.last(result)
    graph = Graph(name, port, output, tuple(builder.nodes), builder.constants)
    constants = {t: v for t in range(len(model.tensors)) if (v := builder.value(t)) is not None}
    return Origin(graph, builder.carriers, constants, operators, tuple(live))


def _ends(model: Model) -> tuple[int, int]:
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1 or tensors[0] < 0:
            names = ", ".join(model.tensors[t].name for t in tensors)
            raise UnsupportedError(
                f"the model has {len(tensors)} {what} ({names}); a network here has one input and "
                "one output: export it cut down to those"
            )
    return model.inputs[0], model.outputs[0]


def _live(model: Model, result: int) -> list[int]:
    """The operators that the output needs; a RESHAPE needs no computed shape."""
    needed, live = {result}, []
    for number, operator in reversed(list(enumerate(model.operators))):
        if needed.intersection(operator.outputs):
            live.append(number)
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
