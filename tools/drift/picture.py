"""The picture: accuracy against age, a line for each way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drift.names import AGES, OURS, PEER
from drift.ways import Accuracy

DOTS_PER_INCH = 100


def draw(found: Sequence[Accuracy], accuracy: float, path: Path) -> None:
    """Draw the means over the chips, with worst and best as a band."""
    import matplotlib as mpl  # noqa: PLC0415 -- the report can be written without a picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 -- after the choice of the back end

    figure, axis = plt.subplots(figsize=(8.0, 6.4))
    for way in dict.fromkeys(one.way for one in found):
        ages_s = sorted({one.age_s for one in found if one.way == way})
        by_age = [[x.accuracy for x in found if (x.way, x.age_s) == (way, age)] for age in ages_s]
        (line,) = axis.plot(
            ages_s,
            [np.mean(figures) for figures in by_age],
            "--" if way.startswith(PEER) else "-",
            marker="o",
            markersize=4,
            linewidth=2.6 if way == OURS else 1.4,
            label=way,
        )
        worst, best = ([end(figures) for figures in by_age] for end in (min, max))
        axis.fill_between(ages_s, worst, best, color=line.get_color(), alpha=0.1)
    axis.axhline(accuracy, color="black", linewidth=0.6)
    axis.annotate("float", (1.0, accuracy), (0, 3), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.set_xticks(list(AGES.values()), list(AGES), fontsize=8, rotation=30)
    axis.minorticks_off()
    axis.set_ylim(0, 0.85)
    axis.set_ylabel("accuracy")
    axis.set_xlabel("age since programming")
    axis.grid(linewidth=0.3)
    axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    figure.tight_layout()
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)
