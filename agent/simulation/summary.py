"""What many chips add up to: recoveries, yields, the worst chips and the layers that fail first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from agent.simulation.chip_life import FACTORS
from agent.simulation.statistics import proportion, spread
from agent.simulation.verdicts import Measure, worst_layer

WORST = 5
"""Chips that are named."""

Records = Sequence[Mapping[str, Any]]


def group_summary(records: Records, measure: Measure) -> dict[str, Any]:
    """The chips of one group, at least one.

    Args:
        records: as `chip_life` gives them, all with the same ages.
        measure: how answers are judged.
    """
    count = len(records[0]["ages"])
    return {
        "chips": len(records),
        "ages": [_age_summary([r["ages"][i] for r in records], measure) for i in range(count)],
        "worst": _worst(records, measure),
        "layers": _layers(records, measure),
    }


def _age_summary(ages: Records, measure: Measure) -> dict[str, Any]:
    calibrations = [age["calibration"] for age in ages if age["calibration"] is not None]
    return {
        "age_s": ages[0]["age_s"],
        "recovery": {who: spread([measure.recovery(age[who]) for age in ages]) for who in FACTORS},
        "yield": {
            who: proportion(sum(measure.is_good(age[who]) for age in ages), len(ages))
            for who in FACTORS
        },
        "mean_error": {
            when: _mean([age["mean_error"][when] for age in ages]) for when in ("before", "after")
        },
        "calibrations": len(calibrations),
        "refused": sum(not one["accepted"] for one in calibrations),
    }


def _worst(records: Records, measure: Measure) -> list[dict[str, Any]]:
    """The chips that are worst at their worst age, worst first."""
    found = []
    for record in records:
        age = min(record["ages"], key=lambda age: measure.recovery(age["after"]))
        found.append(
            {
                "seed": record["seed"],
                "age_s": age["age_s"],
                "before": measure.recovery(age["before"]),
                "after": measure.recovery(age["after"]),
                "accepted": None if age["calibration"] is None else age["calibration"]["accepted"],
                "layer": worst_layer(age),
            }
        )
    return sorted(found, key=lambda one: (one["after"], one["before"], one["seed"]))[:WORST]


def _layers(records: Records, measure: Measure) -> list[dict[str, Any]]:
    """Each layer at the last age, and how many chips it was the first to let down.

    A chip is let down at the first age at which it is below the limit before it is calibrated, by
    the layer that then has the largest share of what the errors are predicted to do.
    """
    first = Counter[str]()
    for record in records:
        bad = next((age for age in record["ages"] if not measure.is_good(age["before"])), None)
        if bad is not None:
            first[worst_layer(bad)] += 1
    last = [{layer["name"]: layer for layer in r["ages"][-1]["layers"]} for r in records]
    return [
        {
            "name": name,
            "fails_first": first[name],
            **{
                field: _mean([layers[name][field] for layers in last])
                for field in ("error_before", "error_after", "share")
            },
        }
        for name in last[0]
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
