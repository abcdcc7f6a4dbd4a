"""The tables of the report, from the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recovery.cases import Case
from recovery.methods import Method
from recovery.repetition import RECOVERY
from recovery.results import Key, Record
from recovery.timing import TIMING

Records = Mapping[Key, Record]
HEAD = (
    "method", "recovery, mean", "± 95 %", "worst", "agreement", "worst", "KL", "s", "peak, MB",
    "bytes", "operations", "runs",
)  # fmt: skip


def of_method(records: Records, kind: str, case: Case, method: str) -> list[Record]:
    """All repetitions of one method on one case."""
    wanted = (kind, case.name, method)
    return [one for (k, c, _, _, m), one in records.items() if (k, c, m) == wanted]


def figures(found: Sequence[Record], name: str) -> list[float]:
    """One figure of all repetitions."""
    return [float(one[name]) for one in found]


def half_interval_95(found: Sequence[Record], name: str) -> float:
    """Half the 95 % interval of a mean over chips, each the mean of its buffers.

    Buffers of one chip are not independent of each other, chips are: Student's t over the chips.
    """
    by_chip: dict[int, list[float]] = {}
    for one in found:
        by_chip.setdefault(int(one["chip"]), []).append(float(one[name]))
    means = [float(np.mean(values)) for values in by_chip.values()]
    if len(means) < 2:
        return math.nan
    return student_95(len(means) - 1) * float(np.std(means, ddof=1)) / math.sqrt(len(means))


def student_95(freedom: int) -> float:
    """Student's t, two-sided 95 %: tabled to 10 degrees of freedom, then an approximation.

    Beyond, t is near z (1 + (z² + 1) / 4n), z = 1.96 (Abramowitz and Stegun 26.7.5).
    """
    tabled = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    if freedom <= len(tabled):
        return tabled[freedom - 1]
    return 1.96 * (1 + (1.96**2 + 1) / (4 * freedom))


def strangers(records: Records, case: Case) -> list[Record]:
    """Repetitions on another chip or main path than others of the same chip and buffer.

    They were run before or after a change of what packs or emulates, and cannot be compared.
    """
    first: dict[tuple[int, int], float] = {}
    found = []
    for (kind, name, chip, buffer, _), one in records.items():
        if (kind, name) == (RECOVERY, case.name):
            witness = float(one["witness"])
            if not math.isclose(first.setdefault((chip, buffer), witness), witness, rel_tol=1e-3):
                found.append(one)
    return found


def case_table(records: Records, case: Case, methods: Iterable[Method]) -> list[list[str]]:
    """A row for each method that has been run."""
    rows = []
    for method in methods:
        found = of_method(records, RECOVERY, case, method.name)
        if found:
            timed = of_method(records, TIMING, case, method.name)
            rows.append([method.title, *_cells(found, timed)])
    return rows


def _cells(found: Sequence[Record], timed: Sequence[Record]) -> list[str]:
    recovery, agreement = figures(found, "recovery"), figures(found, "agreement")
    interval = half_interval_95(found, "recovery")
    seconds = figures(timed, "cpu_s")[-1] if timed else float(np.median(figures(found, "seconds")))
    return [
        f"{np.mean(recovery):.3f}",
        f"{interval:.3f}" if math.isfinite(interval) else "-",
        f"{min(recovery):.3f}",
        f"{np.mean(agreement):.3f}",
        f"{min(agreement):.3f}",
        f"{np.mean(figures(found, 'divergence')):.3f}",
        f"{seconds:.2f}",
        f"{figures(timed, 'peak_mb')[-1]:.0f}" if timed else "",
        f"{np.mean(figures(found, 'bytes')):,.0f}",
        f"{np.mean(figures(found, 'mac_share')):.3f}",
        str(len(found)),
    ]
