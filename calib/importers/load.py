"""Reads a model file, whichever of the two formats it has."""

from __future__ import annotations

import importlib
from pathlib import Path

from calib.errors import GraphError
from calib.graph.model import Graph
from calib.graph.simplify import simplify
from calib.importers.batch import check_independent
from calib.importers.limits import LARGEST_BYTES

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a number or a name changed at random makes the code behind the checks raise."""


def load_model(path: str | Path) -> Graph:
    """Read a float ONNX or TFLite model, told apart by what the file contains.

    Args:
        path: the file.

    Returns:
        The network with any batch size, batch normalisation and constants folded.

    Raises:
        GraphError: the file cannot be read, is damaged, or is no model.
        UnsupportedError: a quantised model, or something in it that is not implemented.
    """
    path = Path(path)
    content = _content(path)
    try:
        graph = simplify(_read(content, path))
        check_independent(graph)
    except _DAMAGE as error:
        raise GraphError(
            f"{path} contradicts itself ({type(error).__name__}: {error}); it is damaged: export "
            "or copy it again"
        ) from error
    return graph


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise GraphError(f"the model {path} is no file; name an .onnx or .tflite file")
        if size > LARGEST_BYTES:
            raise GraphError(f"{path} has {size} bytes; a model file has at most {LARGEST_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise GraphError(f"cannot read the model {path}: {error.strerror or error}") from error
    if not content:
        raise GraphError(f"the model {path} is empty; export or copy it again")
    return content


def _read(content: bytes, path: Path) -> Graph:
    """By the one of the two formats that the file has; each needs packages of its own."""
    kind, needs = ("tflite", "flatbuffers and ai-edge-litert")
    if content[4:8] != b"TFL3":
        kind, needs = ("onnx", "onnx")
    try:
        reader = importlib.import_module(f"calib.importers.{kind}_graph")
    except ModuleNotFoundError as error:
        raise GraphError(
            f"reading {path} needs {needs}, and {error.name} is not installed: "
            "pip install 'npp-agent[host]'"
        ) from error
    graph: Graph = reader.read_graph(content, path)
    return graph
