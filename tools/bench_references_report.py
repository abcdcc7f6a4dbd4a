"""What `bench_references` measured: kept as JSON lines, shown as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from bench_closed_loop import Case
from bench_report import markdown_table

HEAD = (
    "references", "bundle, KiB", "of samples, KiB", "recovery, mean", "worst", "agreement, mean",
    "worst", "accepted", "calibrate, s",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One chip calibrated with one form of references."""

    case: str
    form: str
    chip: int
    bundle_bytes: int
    samples: int
    accuracy: float
    """Of the float network."""

    sample_bytes: int
    """Of what was made from samples: samples, answers, rows, moments; not of weights."""

    recovery: float
    agreement: float
    accepted: bool
    seconds: float


class Results:
    """Rows that were measured already, kept as JSON lines."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self.rows = [Row(**json.loads(line)) for line in lines]

    def has(self, case: str, form: str, chip: int) -> bool:
        """Whether this was measured."""
        return any((row.case, row.form, row.chip) == (case, form, chip) for row in self.rows)

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows.append(row)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")


def section(case: Case, rows: Sequence[Row], forms: Sequence[str]) -> str:
    """All forms of one case: means and worst of the chips."""
    known = [row for row in rows if row.case == case.name]
    lines = [
        _line(form, [row for row in known if row.form == form])
        for form in forms
        if any(row.form == form for row in known)
    ]
    title = f"## {case.name} on {case.device}"
    if known:
        title += f": {known[0].samples} samples, float {known[0].accuracy:.1%}"
    return f"{title}\n\n{markdown_table(HEAD, lines)}"


def _line(form: str, found: Sequence[Row]) -> list[str]:
    recovery, agreement = ([getattr(r, k) for r in found] for k in ("recovery", "agreement"))
    return [
        form,
        f"{found[0].bundle_bytes / 1024:.0f}",
        f"{found[0].sample_bytes / 1024:.0f}",
        *(f"{figure:.3f}" for figure in (np.mean(recovery), min(recovery))),
        *(f"{figure:.3f}" for figure in (np.mean(agreement), min(agreement))),
        f"{sum(row.accepted for row in found)}/{len(found)}",
        f"{np.median([row.seconds for row in found]):.2f}",
    ]
