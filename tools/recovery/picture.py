"""The picture: recovery and agreement of each method, a panel for each case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recovery.cases import CASES, Case
from recovery.methods import Method, methods
from recovery.repetition import RECOVERY
from recovery.table import Records, figures, of_method

OURS, RIVALS, LIMITS = "#c0392b", "#5d6d7e", "#b2babb"
KNOWING = {"oracle", "full-rank"}
DOTS_PER_INCH = 90
LEAST = 0.5
"""What is worse is an arrow at the edge."""


def draw(records: Records, path: Path) -> None:
    """Draw what there is as PNG."""
    import matplotlib as mpl  # noqa: PLC0415 -- the report can be written without a picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- after the choice of the back end

    every = [method for method in methods().values() if method.published]
    cases = [case for case in CASES if any(key[:2] == (RECOVERY, case.name) for key in records)]
    if not cases:
        return
    figure, axes = plt.subplots(
        1, len(cases), figsize=(2.6 + 2.6 * len(cases), 6.0), sharey=True, squeeze=False
    )
    for axis, case in zip(axes[0], cases, strict=True):
        _panel(axis, records, case, every)
    axes[0][0].set_yticks(range(len(every)), [_label(method) for method in every], fontsize=8)
    axes[0][0].set_ylim(len(every) - 0.4, -0.6)
    figure.text(
        0.5,
        0.01,
        "filled: recovery, mean; bar: worst to best; open: agreement; arrow: below 0.5",
        ha="center",
    )
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)


def _panel(axis: Any, records: Records, case: Case, every: list[Method]) -> None:
    for row, method in enumerate(every):
        found = of_method(records, RECOVERY, case, method.name)
        if not found:
            continue
        recovery, agreement = figures(found, "recovery"), figures(found, "agreement")
        colour = _colour(method)
        axis.plot([min(recovery), max(recovery)], [row, row], color=colour, linewidth=3, alpha=0.35)
        for figure, fill in ((np.mean(recovery), "full"), (np.mean(agreement), "none")):
            inside = figure >= LEAST
            marker, x = ("o", figure) if inside else ("<", LEAST + 0.01)
            axis.plot(x, row, marker, color=colour, markersize=6, fillstyle=fill)
    axis.axvline(1.0, color="black", linewidth=0.6)
    axis.set_title(case.name.replace(" + ", "\n+ "), fontsize=9)
    axis.grid(axis="x", linewidth=0.3)
    axis.set_xlim(LEAST, 1.04)


def _colour(method: Method) -> str:
    if method.name in KNOWING:
        return LIMITS
    return OURS if method.title.startswith("**ours") else RIVALS


def _label(method: Method) -> str:
    return method.title.replace("**", "").replace("(QERA; knows the chip)", "(knows the chip)")
