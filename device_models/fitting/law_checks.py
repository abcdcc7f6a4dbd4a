"""How cells depart from one power law of time, in words."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from device_models.fitting.cells import Floats
from device_models.fitting.drift import DriftFit
from device_models.fitting.slopes import Slopes

SIGNIFICANT = 4.0
"""Standard errors. A departure is told if it is both certain and large enough to matter."""

MATTERS = 0.5
"""Of the exponents' deviation: how much they may differ from small to large targets."""

BENDS = 0.1
"""Of the whole change of ln G: how far the mean may lie beside the line."""

_PARTS = 6


def law_departures(drift: DriftFit | None) -> tuple[str, ...]:
    """A sentence for each way in which cells depart from the fitted law, if there is one."""
    if drift is None:
        return ()
    said = []
    if drift.signed_mean < -2 * drift.mean_error:
        said.append(
            f"conductances grow with time (mean exponent {drift.signed_mean:.3g}); the generic "
            "kinds only fade, so the model has no drift"
        )
    if drift.slopes is not None:
        said += [*_by_target(drift.slopes, drift.deviation), *_bends(drift.slopes, drift.mean)]
    return tuple(said)


def _by_target(found: Slopes, deviation: float) -> list[str]:
    """Exponents that depend on the target."""
    x, y = np.log(found.targets), found.exponents
    extent = float(np.square(x - x.mean()).sum())
    if len(x) < 3 or extent <= 1e-9 * len(x):
        return []
    slope = float((x - x.mean()) @ y) / extent
    rest = y - y.mean() - slope * (x - x.mean())
    error = math.sqrt(float(np.square(rest).sum()) / (len(x) - 2) / extent)
    across = abs(slope) * float(x.max() - x.min())
    if abs(slope) <= SIGNIFICANT * error or across <= MATTERS * deviation:
        return []
    low, high = (float(y.mean() + slope * (end - x.mean())) for end in (x.min(), x.max()))
    said = (
        f"exponents depend on the target, about {low:.3g} for small and {high:.3g} for large "
        "cells; the generic kinds have one distribution for all"
    )
    return [said]


def _bends(found: Slopes, mean: float) -> list[str]:
    """Means beside the line, at ages in order."""
    if not found.freedom:
        return []
    order = np.argsort(found.logarithms, kind="stable")
    whole = abs(mean) * float(found.logarithms.max() - found.logarithms.min())
    worst = 0.0
    for part in _parts(found.logarithms[order]):
        rest = found.rests[order][part]
        if len(rest) < 8:
            continue
        middle, error = float(rest.mean()), float(rest.std()) / math.sqrt(len(rest))
        if abs(middle) > max(SIGNIFICANT * error, BENDS * whole, 0.002):
            worst = max(worst, abs(middle), key=abs)
    if not worst:
        return []
    said = (
        f"the mean of ln G lies up to {worst:.2g} beside the fitted power law of time: it is "
        "bent; give its start t0 if you know it, or describe a kind of your own"
    )
    return [said]


def _parts(sorted_logarithms: Floats) -> list[slice]:
    """Parts of about equal extent."""
    edges = np.linspace(sorted_logarithms[0], sorted_logarithms[-1], _PARTS + 1)[1:-1]
    at = [0, *np.searchsorted(sorted_logarithms, edges).tolist(), len(sorted_logarithms)]
    return [slice(low, high) for low, high in pairwise(at)]
