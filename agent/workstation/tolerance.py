"""The tolerance that a bundle states, where its runtime rounds outputs to codes."""

from __future__ import annotations

from dataclasses import replace

from agent.runtimes.output_codes import FILE_NAME, decode_output_codes
from agent.store.package import Package
from calib.rounding_tolerance import rounding_tolerance


def with_tolerance(package: Package) -> Package:
    """The package with what its rounding may differ by from one processor to another."""
    if FILE_NAME not in package.files:
        return package
    names = [layer.name for layer in package.network.layers]
    outputs = decode_output_codes(package.files[FILE_NAME], names)
    return replace(package, tolerance=rounding_tolerance(package.network, outputs))
