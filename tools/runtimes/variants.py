"""The ways to run one network that are compared: float, plain integers, and with surrogates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PLAIN = "int8"
"""Without surrogate: what the others are compared with."""

SLOWDOWNS = (1.25, 1.5)


@dataclass(frozen=True)
class Variant:
    """What a worker is asked to load."""

    name: str
    bundle: str | None
    """One of `runtimes.networks.BUNDLES`; None: the float model."""

    factors: str = "none"
    """`none`, `calibrated` or `stand-ins`."""

    slowdown: float | None = None
    """Limit of the calibration."""

    layers: list[str] | None = None
    """That stand-ins lie at; None: all."""

    is_chosen: bool = False
    """Whether the layers with a branch were chosen for what they are worth."""


def variants(runtime: str, *, has_inputs: bool, chosen: list[str] | None) -> Iterator[Variant]:
    """Those of one runtime, float and plain integers first.

    Args:
        runtime: its name.
        has_inputs: else nothing is calibrated, and branches hold what does not matter.
        chosen: layers for stand-ins, where the runtime chooses none without a calibration.
    """
    yield Variant("float", None)
    if runtime == "onnxruntime":
        yield from _of_onnxruntime(has_inputs=has_inputs, chosen=chosen)
    else:
        yield from _of_tflite("calibrated" if has_inputs else "none")


def _of_onnxruntime(*, has_inputs: bool, chosen: list[str] | None) -> Iterator[Variant]:
    bundle = "onnxruntime int8"
    yield Variant(PLAIN, bundle)
    if has_inputs:
        for limit in SLOWDOWNS:
            yield Variant(
                f"int8, branches within {limit} times",
                bundle,
                "calibrated",
                slowdown=limit,
                is_chosen=True,
            )
        yield Variant("int8, branches everywhere", bundle, "calibrated")
        yield Variant("int8, stand-ins everywhere", bundle, "stand-ins")
        yield Variant("int4", "onnxruntime int4", "calibrated")
        return
    yield Variant("int8, stand-ins where LiteRT has branches", bundle, "stand-ins", layers=chosen)
    yield Variant("int8, stand-ins everywhere", bundle, "stand-ins")
    yield Variant("int4", "onnxruntime int4")


def _of_tflite(factors: str) -> Iterator[Variant]:
    yield Variant(PLAIN, "tflite int8 none")
    yield Variant("int8, branches chosen", "tflite int8 auto", factors, is_chosen=True)
    yield Variant("int8, branches everywhere", "tflite int8 all", factors)
    yield Variant("int4", "tflite int4", factors)
