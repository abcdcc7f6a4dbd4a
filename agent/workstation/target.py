"""What a bundle is packed for."""

from __future__ import annotations

from dataclasses import dataclass

from agent.runtimes.names import CIM
from agent.runtimes.tflite_plan import PRE_ACTIVATION

ALL, NONE, AUTO = "all", "none", "auto"
"""Layers that get a branch, beside their names."""


@dataclass(frozen=True)
class Target:
    """What is to run the main path, and how its graph is made."""

    runtime: str = CIM
    """One of `RUNTIMES`."""

    surrogates_at: str = PRE_ACTIVATION
    """Of the runtime tflite: one of `SURROGATES_AT`."""

    branches: str = AUTO
    """Of the runtime tflite: `all`, `none`, `auto`, or names of layers with commas between."""


EMULATED_CHIP = Target()
