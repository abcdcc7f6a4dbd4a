"""Reads a model file, whichever of the two formats it has."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib.errors import GraphError
from calib.given import GivenCodes
from calib.graph.model import Graph
from calib.graph.simplify import simplify
from calib.importers.batch import check_independent
from calib.importers.limits import LARGEST_BYTES

_DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What a number or a name changed at random makes the code behind the checks raise."""


@dataclass(frozen=True)
class Source:
    """What a model file holds."""

    graph: Graph
    """With any batch size. What a quantised file's codes stand for, with activations in float."""

    codes: GivenCodes | None
    """Of a quantised file."""

    content: bytes
    """The file."""

    is_tflite: bool


def load_model(path: str | Path) -> Graph:
    """Read an ONNX or TFLite model, told apart by what the file contains.

    Args:
        path: the file.

    Returns:
        The network with any batch size, batch normalisation and constants folded. Of a quantised
        TFLite model, what its codes stand for.

    Raises:
        GraphError: the file cannot be read, is damaged, or is no model.
        UnsupportedError: something in it that is not implemented.
    """
    return load_source(path).graph


def load_source(path: str | Path, *, fold: bool = True) -> Source:
    """Read a model with what its file says beside the network, see `load_model`.

    Args:
        path: the file.
        fold: take what follows a layer into its weights; a quantised model's stay as they are.
    """
    path = Path(path)
    content = _content(path)
    try:
        return _source(content, path, fold=fold)
    except _DAMAGE as error:
        raise GraphError(
            f"{path} contradicts itself ({type(error).__name__}: {error}); it is damaged: export "
            "or copy it again"
        ) from error


def _source(content: bytes, path: Path, *, fold: bool) -> Source:
    graph, model = _read(content, path)
    codes: GivenCodes | None = None
    quantised = model is not None and _part("tflite_forms").is_quantised(model)
    graph = simplify(graph, fold=fold and not quantised)
    check_independent(graph)
    if quantised:
        codes = _part("tflite_codes").given_codes(model, graph)
    return Source(graph, codes, content, is_tflite=model is not None)


def _part(name: str) -> Any:
    """A module that needs packages of its own."""
    return importlib.import_module(f"calib.importers.{name}")


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


def _read(content: bytes, path: Path) -> tuple[Graph, Any]:
    """By the one of the two formats that the file has; each needs packages of its own.

    Returns:
        The network, and the plain content of a TFLite file.
    """
    is_tflite = content[4:8] == b"TFL3"
    kind, needs = ("tflite", "flatbuffers and ai-edge-litert") if is_tflite else ("onnx", "onnx")
    try:
        reader = _part(f"{kind}_graph")
    except ModuleNotFoundError as error:
        raise GraphError(
            f"reading {path} needs {needs}, and {error.name} is not installed: "
            "pip install 'npp-agent[host]'"
        ) from error
    graph: Graph = reader.read_graph(content, path)
    return graph, _part("tflite_file").read_tflite(content, str(path)) if is_tflite else None
