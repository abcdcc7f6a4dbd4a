"""From a float model file and a data file to a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.data_file import read_data
from agent.errors import InputError
from agent.runtimes.names import CIM, ONNXRUNTIME
from agent.runtimes.output_codes import FILE_NAME, encode_output_codes
from agent.store.package import Package
from agent.workstation.tolerance import with_tolerance
from calib.graph.model import Graph
from calib.importers.load import load_model
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare

PHASES = 4
"""How often `pack` tells what it does next."""


def pack(  # noqa: PLR0913  # what a user says on one command line
    model: Path,
    samples: Path,
    key: str | None,
    options: PackOptions,
    tell: Callable[[str], None] = lambda _: None,
    *,
    runtime: str = CIM,
) -> Package:
    """Pack a float `.onnx` or `.tflite` model.

    Args:
        model: the model's file.
        samples: the data file with calibration samples, held-back ones first.
        key: of the arrays in the data file, if they have one.
        options: what the user chose.
        tell: is told what is being done.
        runtime: what is to run the main path, one of `RUNTIMES`.

    Raises:
        InputError: the data file cannot be used, or time is limited where it cannot be.
        CalibError: the model cannot be read, or the samples do not fit it.
    """
    if options.slowdown is not None and runtime == CIM:
        raise InputError(
            f"--budget-slowdown is measured on the board, and the runtime {CIM} is an emulated "
            "chip with a time of its own: leave it out, and limit --budget-mac-share"
        )
    graph = load_model(model)
    data = read_data(samples, key)
    network = prepare(graph, data.x, data.y, options, tell)
    files = runtime_files(runtime, graph, network, data.x)
    return with_tolerance(Package(network, model.stem, runtime, files))


@np.errstate(under="ignore")  # a number too small for its type is zero
def runtime_files(
    runtime: str, graph: Graph, network: PackedNetwork, samples: NDArray[np.float32]
) -> dict[str, bytes]:
    """What a runtime needs in the bundle beside the network.

    Args:
        runtime: one of `RUNTIMES`.
        graph: the float network.
        network: the same, packed.
        samples: [n, ...], those that it was packed with first.
    """
    if runtime != ONNXRUNTIME:
        return {}
    seen = samples[: network.references.count].astype(np.float32)
    return {FILE_NAME: encode_output_codes(output_codes(graph, network, seen))}
