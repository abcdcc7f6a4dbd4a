"""From a bundle's package to the runtime that it wants; of the others nothing is imported."""

from __future__ import annotations

import numpy as np

from agent.errors import BundleError, RuntimeUnavailableError
from agent.runtimes.base import Runtime
from agent.runtimes.names import CIM, ONNXRUNTIME, RUNTIMES, TFLITE
from agent.store.package import Package
from calib.schemes.weights import FLOAT, SCHEMES
from device_models.array import Chip, State


def runtime_of(
    package: Package,
    chip: Chip | None,
    conditions: State,
    generator: np.random.Generator | None,
    *,
    fast: bool = False,
) -> Runtime:
    """What runs a package's main path.

    Args:
        package: what the bundle holds.
        chip: which chip; an emulator needs one.
        conditions: its age, temperature and supply.
        generator: where read noise is drawn from; an emulator needs one.
        fast: compute in a statistically equal form where the chip's model has one.

    Raises:
        RuntimeUnavailableError: this version has no such runtime, the package is not quantised, or
            its channels have levels, which this runtime cannot compute.
    """
    if package.runtime not in RUNTIMES:
        raise RuntimeUnavailableError(
            f"the bundle wants the runtime {package.runtime!r}, this npp-agent has "
            f"{', '.join(RUNTIMES)}; pack the model for one of these"
        )
    if package.network.scheme == FLOAT:
        raise RuntimeUnavailableError(
            f"the bundle of {package.model} holds float weights: install it with --scheme "
            f"{', '.join(SCHEMES)}"
        )
    _check_levels(package)
    if package.runtime == ONNXRUNTIME:
        return _onnx_runtime(package)
    if package.runtime == TFLITE:
        from agent.runtimes.tflite import TfliteRuntime  # noqa: PLC0415 - see above

        return TfliteRuntime(package.network, package.files)
    from agent.runtimes.cim import CimRuntime  # noqa: PLC0415 - see above

    assert chip is not None, "an emulator has a chip"
    assert generator is not None, "and its noise"
    return CimRuntime(package.network, chip, conditions, generator, fast=fast)


def check_files(package: Package) -> None:
    """Refuse, before a package is installed, files that are not of its network.

    Raises:
        BundleError: a file is missing, damaged, or of another network.
        RuntimeUnavailableError: its channels have levels, which its runtime cannot compute.
    """
    _check_levels(package)
    if package.runtime == TFLITE:
        from agent.runtimes.tflite_files import checked_plan  # noqa: PLC0415 - see above

        checked_plan(package.network, package.files)


def _check_levels(package: Package) -> None:
    if package.network.mixed and package.runtime != CIM:
        raise RuntimeUnavailableError(
            f"the bundle of {package.model} has channels that differ in bits, which the runtime "
            f"{package.runtime} cannot compute; pack the model with --runtime {CIM}"
        )


def _onnx_runtime(package: Package) -> Runtime:
    from agent.runtimes.onnxruntime import OnnxRuntime  # noqa: PLC0415 - see above
    from agent.runtimes.output_codes import FILE_NAME, decode_output_codes  # noqa: PLC0415

    if FILE_NAME not in package.files:
        raise BundleError(
            f"the bundle of {package.model} has no file {FILE_NAME}, which the runtime "
            f"{ONNXRUNTIME} needs; pack the model again"
        )
    names = [layer.name for layer in package.network.layers]
    return OnnxRuntime(package.network, decode_output_codes(package.files[FILE_NAME], names))
