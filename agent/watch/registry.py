"""Detectors and signals by name; a chart is `detector:signal`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.errors import InputError
from agent.watch.detector import Detector
from agent.watch.detectors import CUSUM, EWMA, HOTELLING, MEWMA, PAGE_HINKLEY

DETECTORS = {one.name: one for one in (CUSUM, EWMA, PAGE_HINKLEY, MEWMA, HOTELLING)}

LAYERS: Literal["layers"] = "layers"
LOSS: Literal["loss"] = "loss"
EACH_LAYER: Literal["each-layer"] = "each-layer"
SIGNALS = (LAYERS, LOSS, EACH_LAYER)
"""All layers' whitened errors as one score; the predicted loss; each layer's whitened error."""


@dataclass(frozen=True)
class Chart:
    """A detector on a signal."""

    detector: Detector
    signal: str

    @property
    def name(self) -> str:
        """As in the settings."""
        return f"{self.detector.name}:{self.signal}"


def chart_named(name: str) -> Chart:
    """The chart of a name.

    Raises:
        InputError: there is no such detector or signal, or they do not go together.
    """
    detector, _, signal = name.partition(":")
    if detector not in DETECTORS or signal not in SIGNALS:
        raise InputError(
            f"watch: there is no chart {name[:60]!r}; give DETECTOR:SIGNAL, with a detector of "
            f"{', '.join(DETECTORS)} and a signal of {', '.join(SIGNALS)}"
        )
    chart = Chart(DETECTORS[detector], signal)
    if chart.detector.several != (signal == EACH_LAYER):
        fitting = EACH_LAYER if chart.detector.several else f"{LAYERS} or {LOSS}"
        raise InputError(f"watch: the chart {name} cannot be; {detector} takes {fitting}")
    return chart
