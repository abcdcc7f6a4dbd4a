"""What a life came to, for each carer: accuracy, alarms, calibrations, flash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.life.carers import CARERS, POLICY, TIMER
from agent.life.life import LIMIT, Subject
from agent.life.scenario import Scenario
from agent.life.weather import DAY_S, HOUR_S
from agent.watch.detectors import CUSUM, REFERENCE
from agent.watch.run_length import cusum

Records = Sequence[Mapping[str, Any]]

CLEAR_SHIFT = 3.0
"""Deviations beyond what is tolerated that a drift has come to, when its detection is timed."""

DAYS_OF_YEAR = 365.0
DAYS_OF_MONTH = DAYS_OF_YEAR / 12


@dataclass(frozen=True)
class Account:
    """One carer's."""

    recovery_mean: float | None
    """Weighed by time, with the factors that were found at the end of each span."""

    recovery_lowest: float | None
    hours_below: float
    """Limit."""

    longest_below_h: float
    alarms: int
    alarms_per_month: float
    alarms_on_input: int
    """Times that inputs were found to have moved."""

    accepted: int
    refused: int
    rolled_back: int
    flash_bytes: int
    flash_bytes_per_year: float
    erases: int


def summarised(
    records: Iterable[Mapping[str, Any]], subject: Subject, scenario: Scenario
) -> dict[str, Any]:
    """The summary of a life's records, as JSON holds it."""
    listed = list(records)
    accounts = {name: account(listed, name) for name in CARERS}
    timer, ours = (accounts[name].flash_bytes for name in (TIMER, POLICY))
    scored = next(one for one in listed if "measure" in one)
    return {
        "model": subject.package.model,
        "scheme": subject.package.network.scheme,
        "chip": subject.described["name"],
        "chip_seed": subject.chip.seed,
        "seed": subject.seed,
        "fast": subject.fast,
        "samples": len(subject.data.x),
        "days": listed[-1]["day"],
        "rounds": len(listed),
        "measure": scored["measure"],
        "float": scored["float"],
        "limit": LIMIT,
        "detection_delay_h": detection_delay_h(scenario),
        "carers": {name: asdict(one) for name, one in accounts.items()},
        "flash_ratio": timer / ours if ours else None,
    }


def detection_delay_h(scenario: Scenario) -> float:
    """The stated delay: rounds until CUSUM sees a clear shift, and the shortest interval."""
    settings = scenario.watch
    limit = CUSUM.limit(settings.rounds_between_false_alarms * len(settings.charts), 1)
    rounds = cusum(REFERENCE, limit, CLEAR_SHIFT)
    return rounds * scenario.round_h + scenario.policy.minimum_interval_s / HOUR_S


def account(records: Records, name: str) -> Account:
    """What one carer's life came to."""
    mine = [one["carers"][name] for one in records]
    last, days = mine[-1], max(records[-1]["day"], 1e-9)
    events = [one["event"] for one in mine]
    alarms = sum(bool(one.get("alarm")) for one in mine)
    spans = list(_spans(records, name))
    hours = sum(span_h for span_h, _ in spans)
    return Account(
        recovery_mean=sum(h * value for h, value in spans) / hours if hours else None,
        recovery_lowest=min((value for _, value in spans), default=None),
        hours_below=sum(span_h for span_h, value in spans if value < LIMIT),
        longest_below_h=_longest_below_h(spans),
        alarms=alarms,
        alarms_per_month=alarms / (days / DAYS_OF_MONTH),
        alarms_on_input=_times_moved([one.get("changed") for one in mine]),
        accepted=events.count("accepted"),
        refused=events.count("refused"),
        rolled_back=events.count("rolled back"),
        flash_bytes=last["flash_bytes"],
        flash_bytes_per_year=last["flash_bytes"] * DAYS_OF_YEAR / days,
        erases=last["erases"],
    )


def _spans(records: Records, name: str) -> Iterable[tuple[float, float]]:
    """Hours between evaluations, each with the recovery found at its end."""
    before = None
    for one in records:
        if "recovery" not in one:
            continue
        if before is not None:
            found = one["recovery"][name]["found"]
            yield (one["day"] - before) * DAY_S / HOUR_S, 0.0 if found is None else found
        before = one["day"]


def _longest_below_h(spans: Sequence[tuple[float, float]]) -> float:
    longest = running = 0.0
    for span_h, value in spans:
        running = running + span_h if value < LIMIT else 0.0
        longest = max(longest, running)
    return longest


def _times_moved(changed: Sequence[str | None]) -> int:
    moved = [one in {"input", "both"} for one in changed]
    return sum(now and not before for before, now in zip([False, *moved], moved, strict=False))
