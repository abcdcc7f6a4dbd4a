"""From a model file and a data file to a bundle."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.data_file import read_data
from agent.errors import InputError
from agent.runtimes.names import CIM, ONNXRUNTIME, TFLITE
from agent.runtimes.output_codes import FILE_NAME, encode_output_codes
from agent.store.package import Package
from agent.workstation.level_training import TrainingChoice, level_training
from agent.workstation.target import EMULATED_CHIP, Target
from agent.workstation.tolerance import with_tolerance
from calib.given import Prescribed
from calib.graph.model import Graph
from calib.importers.load import load_source
from calib.output_ranges import output_codes
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.names import CHANNELWISE
from calib.train.levels import LevelTraining

DEFAULT_SLOWDOWN = 1.25
"""Of int8 on onnxruntime, whose weights have no room for a branch. Everywhere, branches take three
to four times as long, and have little to repair while the processor is sound."""

PHASES = 4
"""How often `pack` tells what it does next."""


def pack(  # noqa: PLR0913  # what a user says on one command line
    model: Path,
    samples: Path,
    key: str | None,
    options: PackOptions,
    tell: Callable[[str], None] = lambda _: None,
    *,
    target: Target = EMULATED_CHIP,
    training: TrainingChoice | None = None,
) -> Package:
    """Pack an `.onnx` or `.tflite` model.

    Args:
        model: the model's file.
        samples: the data file with calibration samples, held-back ones first.
        key: of the arrays in the data file, if they have one.
        options: what the user chose.
        tell: is told what is being done.
        target: what is to run it.
        training: of scheme `channelwise`.

    Raises:
        InputError: the data file, the model, the scheme or a limit of time cannot be used with this
            runtime.
        CalibError: the model cannot be read, or the samples do not fit it.
    """
    _check_target(options, target)
    options = _within_time(options, target)
    for_tflite = target.runtime == TFLITE
    source = load_source(model, fold=not for_tflite)
    data = read_data(samples, key)
    if for_tflite:
        # It needs the TFLite schema, which is not there where only ONNX models are packed.
        making = importlib.import_module("agent.workstation.tflite.making")
        network, files = making.made_for_tflite(source, data, options, target, tell)
        seen = data.x[: network.references.count].astype(np.float32)
        package = Package(network, model.stem, target.runtime, files)
        return with_tolerance(package, output_codes(source.graph, network, seen))
    fixed = Prescribed(source.codes)
    fixed.check(options.scheme, options.activation_bits)
    learner = _learner(source.graph, key, options, training)
    network = prepare(
        source.graph, data.x, data.y, options, tell, prescribed=fixed, learner=learner
    )
    files = runtime_files(target.runtime, source.graph, network, data.x)
    return with_tolerance(Package(network, model.stem, target.runtime, files))


def _learner(
    graph: Graph, key: str | None, options: PackOptions, training: TrainingChoice | None
) -> LevelTraining | None:
    if training is None:
        return None
    return level_training(graph, read_data(training.data, key), options, training)


def _within_time(options: PackOptions, target: Target) -> PackOptions:
    """With a limit of time, where branches cost much and nobody said how much they may."""
    if options.slowdown is None and target.runtime == ONNXRUNTIME and options.scheme == "int8":
        return replace(options, slowdown=DEFAULT_SLOWDOWN)
    return options


def _check_target(options: PackOptions, target: Target) -> None:
    if options.scheme == CHANNELWISE and target.runtime != CIM:
        raise InputError(
            f"the runtime {target.runtime} has no kernels whose channels differ in bits: pack with "
            f"--runtime {CIM}, or with --scheme int8 or int4"
        )
    if options.slowdown is not None and target.runtime != ONNXRUNTIME:
        raise InputError(
            f"--budget-slowdown is measured on the board by the runtime {ONNXRUNTIME}, not by "
            f"{target.runtime}: leave it out, and limit --budget-mac-share"
        )


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
