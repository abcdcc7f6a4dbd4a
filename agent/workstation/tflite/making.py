"""From a TFLite model and samples to a network and the files of the runtime tflite."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from agent.data_file import Data
from agent.errors import InputError, RuntimeUnavailableError
from agent.runtimes.tflite_interpreter import TfliteModel, imported
from agent.runtimes.tflite_plan import FILE_NAME
from agent.workstation.target import Target
from agent.workstation.tflite.branches import branch_ranks
from agent.workstation.tflite.codes import spans
from agent.workstation.tflite.files import tflite_files
from agent.workstation.tflite.source import tflite_source
from calib.given import GIVEN_BITS, Prescribed
from calib.importers.load import Source
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.schemes.weights import FLOAT, SCHEMES

_WITHOUT_INTEGERS = (FLOAT, "nf4")


@np.errstate(under="ignore")  # a number too small for its type is zero
def made_for_tflite(
    source: Source,
    data: Data,
    options: PackOptions,
    target: Target,
    tell: Callable[[str], None],
) -> tuple[PackedNetwork, dict[str, bytes]]:
    """The packed network, and what stands beside it in the bundle.

    Args:
        source: the model, with nothing folded into its layers.
        data: calibration samples, held-back ones first.
        options: what the user chose of the network.
        target: what the user chose of its graph.
        tell: is told what is being done.

    Raises:
        InputError: the model or the options are not for this runtime; the sentence says why.
        RuntimeUnavailableError: the interpreter on this machine does not take what was made.
        CalibError: the samples do not fit the model.
    """
    _check(source, options)
    file = tflite_source(source.content, source.graph)
    prescribed = Prescribed(source.codes, spans(file) if source.codes is None else {})
    network = prepare(source.graph, data.x, data.y, options, tell, prescribed=prescribed)
    seen = data.x[: network.references.count].astype(np.float32)
    ranks = branch_ranks(target.branches, source.graph, network, seen)
    files = tflite_files(file, network, seen, ranks, target.surrogates_at)
    _try(files)
    return network, files


def _try(files: Mapping[str, bytes]) -> None:
    """Run each file once, where there is an interpreter; else the board's will be the first.

    Raises:
        RuntimeUnavailableError: the interpreter does not take a file.
    """
    try:
        backend = imported()
    except RuntimeUnavailableError:
        return
    for name, content in files.items():
        if name != FILE_NAME:
            model = TfliteModel(backend, content, name)
            model.run(np.zeros(model.input_shape, model.input_dtype))


def _check(source: Source, options: PackOptions) -> None:
    if not source.is_tflite:
        raise InputError(
            "the runtime tflite is packed from a .tflite model, by editing its graph, and this is "
            "an ONNX model: pack it with --runtime onnxruntime, or convert it to .tflite"
        )
    if options.scheme in _WITHOUT_INTEGERS:
        known = ", ".join(name for name in SCHEMES if name not in _WITHOUT_INTEGERS)
        raise InputError(
            f"the runtime tflite has integer kernels, and weights of --scheme {options.scheme} are "
            f"no integers when the model is packed: choose one of {known}"
        )
    if options.activation_bits != GIVEN_BITS:
        raise InputError(
            f"the runtime tflite has activations of {GIVEN_BITS} bits, not of "
            f"{options.activation_bits}: leave --activation-bits out"
        )
