"""Reads a model file, whichever of the two formats it has."""

from __future__ import annotations

from pathlib import Path

from calib.errors import GraphError
from calib.graph.model import Graph
from calib.graph.simplify import simplify
from calib.importers.batch import check_independent, free_batch

LARGEST_BYTES = 1 << 31
"""Both formats count their bytes in 32 bits with a sign."""


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
    graph = _tflite(content, path) if content[4:8] == b"TFL3" else _onnx(content, path)
    simplified = simplify(graph)
    check_independent(simplified)
    return simplified


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise GraphError(f"{path} has {size} bytes; a model file has at most {LARGEST_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise GraphError(f"cannot read the model {path}: {error.strerror or error}") from error
    if not content:
        raise GraphError(f"the model {path} is empty; export or copy it again")
    return content


def _tflite(content: bytes, path: Path) -> Graph:
    from calib.importers.tflite_file import read_tflite  # noqa: PLC0415 - only when needed
    from calib.importers.tflite_graph import tflite_graph  # noqa: PLC0415 - only when needed

    return free_batch(tflite_graph(read_tflite(content, str(path)), path.stem))


def _onnx(content: bytes, path: Path) -> Graph:
    from calib.importers.onnx_graph import onnx_graph  # noqa: PLC0415 - needs the package onnx

    return onnx_graph(content, path)
