"""The tolerance that a bundle states, where its runtime rounds outputs to codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.runtimes.output_codes import FILE_NAME, decode_output_codes
from agent.store.package import Package
from calib.rounding_tolerance import rounding_tolerance
from calib.schemes.activations import ActivationCode


def with_tolerance(
    package: Package, outputs: Mapping[str, ActivationCode] | None = None
) -> Package:
    """The package with what its rounding may differ by from one processor to another.

    Args:
        package: as packed.
        outputs: by layer, the codes of its output; by default those in the package's file, and
            without that nothing is rounded.
    """
    if outputs is None and FILE_NAME in package.files:
        names = [layer.name for layer in package.network.layers]
        outputs = decode_output_codes(package.files[FILE_NAME], names)
    if outputs is None:
        return package
    return replace(package, tolerance=rounding_tolerance(package.network, outputs))
