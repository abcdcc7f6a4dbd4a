"""Reads an ONNX file into a checked model of opset 11 or newer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    checker,
    defs,
    external_data_helper,
    inliner,
    version_converter,
)

from calib.errors import GraphError, UnsupportedError
from calib.importers.limits import LARGEST_BYTES

OLDEST_OPSET = 11
_CONVERTED_OPSET = 13
"""What models older than OLDEST_OPSET are brought to, by the onnx package's converter."""

DOMAINS = {"", "ai.onnx"}


def read_onnx(content: bytes, path: Path) -> tuple[ModelProto, int]:
    """Parse and check the content of an ONNX file.

    Args:
        content: the whole file.
        path: where it lies: for messages, and for tensors kept in files beside it.

    Returns:
        The model with its local functions inlined, and its opset.

    Raises:
        GraphError: the file is damaged or no model.
        UnsupportedError: a quantised model, custom operators, an opset not known.
    """
    model = _parsed(content, path)
    _load_external(model, path)
    if model.functions:
        model = _called(inliner.inline_local_functions, model, path)
    opset = _opset(model, path)
    _check_nodes(model)
    _called(checker.check_model, model, path)
    if opset < OLDEST_OPSET:
        model = _converted(model, opset)
        opset = _CONVERTED_OPSET
    return model, opset


def _parsed(content: bytes, path: Path) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise GraphError(
            f"{path} is neither an intact ONNX nor a TFLite file: it is cut, damaged or of "
            "another format; export or copy it again"
        ) from error
    whole = model.ir_version and model.graph.node and model.graph.output
    if not whole or not all(isinstance(word, str) for word in _words(model)):
        raise GraphError(
            f"{path} holds no ONNX graph: it is cut, damaged or of another format; export or copy "
            "it again"
        )
    return model


def _words(model: ModelProto) -> Iterator[object]:
    """All names; protobuf hands out bytes where a name is no valid text."""
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for named in (model.graph.initializer, model.graph.input, model.graph.output):
        yield from (entry.name for entry in named)
    yield from (entry.domain for entry in model.opset_import)


def _load_external(model: ModelProto, path: Path) -> None:
    """Load tensors kept in other files; onnx itself refuses paths that leave the folder."""
    external = [t for t in _tensors(model) if t.data_location == TensorProto.EXTERNAL]
    if not external:
        return
    names = {entry.value for t in external for entry in t.external_data if entry.key == "location"}
    size = sum(_file_bytes(path.parent / name) for name in names)
    if size > LARGEST_BYTES:
        raise GraphError(
            f"{path} keeps {size} bytes in other files ({', '.join(sorted(names))}), and "
            f"a model has at most {LARGEST_BYTES}: pack a smaller one"
        )
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, RuntimeError, checker.ValidationError) as error:
        raise GraphError(
            f"{path} keeps weights in other files ({', '.join(sorted(names))}), and they cannot be "
            "read; copy them beside the model"
        ) from error


def _file_bytes(path: Path) -> int:
    """0 for what cannot be read: that is said when it is."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (a.t for a in node.attribute if a.HasField("t"))


def _called(function: Any, model: ModelProto, path: Path) -> Any:
    """Call one of the onnx package's functions, its errors translated to one sentence."""
    try:
        return function(model)
    except (checker.ValidationError, RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise GraphError(
            f"{path} is no valid ONNX model ({reason}); export or copy it again"
        ) from error


def _opset(model: ModelProto, path: Path) -> int:
    opsets = [entry.version for entry in model.opset_import if entry.domain in DOMAINS]
    if len(opsets) != 1 or opsets[0] < 1:
        raise GraphError(f"{path} names no opset; it is damaged: export or copy it again")
    newest = defs.onnx_opset_version()
    if opsets[0] > newest:
        raise UnsupportedError(
            f"{path} has opset {opsets[0]}, and the installed onnx {onnx.__version__} knows up to "
            f"{newest}: export with an older opset or install a newer onnx"
        )
    return int(opsets[0])


def _converted(model: ModelProto, opset: int) -> ModelProto:
    try:
        converted: ModelProto = version_converter.convert_version(model, _CONVERTED_OPSET)
    except (RuntimeError, ValueError, checker.ValidationError) as error:
        raise UnsupportedError(
            f"the model has opset {opset}, and {OLDEST_OPSET} or newer is supported: export it "
            "with a newer opset"
        ) from error
    return converted


def _check_nodes(model: ModelProto) -> None:
    """Raise UnsupportedError for quantised models and operators that are not ONNX's own."""
    constant = {t.name for t in model.graph.initializer}
    constant |= {o for node in model.graph.node if node.op_type == "Constant" for o in node.output}
    if model.graph.sparse_initializer:
        raise UnsupportedError("the model stores tensors sparsely; export it dense")
    for node in model.graph.node:
        if _is_quantised(node, constant):
            raise UnsupportedError(
                f"the model is quantised already (node {_label(node)} is a {node.op_type}); give "
                "the float model, from which the quantised one was made"
            )
        if node.domain not in DOMAINS:
            raise UnsupportedError(
                f"node {_label(node)} is a custom operator {node.domain}.{node.op_type}, which is "
                "not supported: export the model with ONNX's own operators"
            )


def _label(node: NodeProto) -> str:
    return repr(node.name or next(iter(node.output), ""))


def _is_quantised(node: NodeProto, constant: set[str]) -> bool:
    """Whether a node computes with quantised numbers; unpacking constant weights does not."""
    if node.op_type == "DequantizeLinear":
        return not constant.issuperset(name for name in node.input if name)
    return node.op_type.startswith(("QLinear", "QGemm", "QAttention")) or node.op_type.endswith(
        ("Integer", "QuantizeLinear", "NBits", "Bnb4")
    )
