"""From a float model file and a data file to a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.data_file import read_data
from agent.store.package import Package
from calib.importers.load import load_model
from calib.prepare import PackOptions, prepare

PHASES = 4
"""How often `pack` tells what it does next."""


def pack(
    model: Path,
    samples: Path,
    key: str | None,
    options: PackOptions,
    tell: Callable[[str], None] = lambda _: None,
) -> Package:
    """Pack a float `.onnx` or `.tflite` model.

    Args:
        model: the model's file.
        samples: the data file with calibration samples, held-back ones first.
        key: of the arrays in the data file, if they have one.
        options: what the user chose.
        tell: is told what is being done.

    Raises:
        InputError: the data file cannot be used.
        CalibError: the model cannot be read, or the samples do not fit it.
    """
    graph = load_model(model)
    data = read_data(samples, key)
    return Package(prepare(graph, data.x, data.y, options, tell), model.stem, "cim")
