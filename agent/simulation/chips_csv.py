"""Every chip at every age as a line of CSV, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from agent.simulation.chip_life import FACTORS
from agent.simulation.verdicts import Measure, worst_layer

_SCORES = ("accuracy", "agreement", "output_sqnr_db")


def chips_csv(
    records: Sequence[Mapping[str, Any]], values: Sequence[object], measure: Measure
) -> str:
    """The table with its heading; what is not there is empty.

    Args:
        records: as `chip_life` gives them, sorted.
        values: of the swept parameter, by group.
        measure: how answers are judged.
    """
    out = io.StringIO()
    rows = (_row(record, age, values, measure) for record in records for age in record["ages"])
    for number, row in enumerate(rows):
        if number == 0:
            writer = csv.DictWriter(out, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
    return out.getvalue()


def _row(
    record: Mapping[str, Any], age: Mapping[str, Any], values: Sequence[object], measure: Measure
) -> dict[str, Any]:
    calibration = age["calibration"] or {}
    scores = {f"{what}_{who}": age[who][what] for what in _SCORES for who in FACTORS}
    recoveries = {f"recovery_{who}": measure.recovery(age[who]) for who in FACTORS}
    return {
        "group": record["group"],
        "value": values[record["group"]],
        "seed": record["seed"],
        "age_s": age["age_s"],
        **scores,
        **recoveries,
        "good_before": measure.is_good(age["before"]),
        "good_after": measure.is_good(age["after"]),
        "accepted": calibration.get("accepted"),
        "reason": calibration.get("reason"),
        "mean_error_before": age["mean_error"]["before"],
        "mean_error_after": age["mean_error"]["after"],
        "worst_layer": worst_layer(age),
    }
