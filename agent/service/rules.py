"""The configuration, as the watch and its policy take it."""

from __future__ import annotations

from agent.service.settings import Configuration
from agent.watch.budget import DAY_S, Allowance
from agent.watch.policy import Policy
from agent.watch.settings import WatchSettings

SHORTEST_ROUND_S = 1.0
"""Rounds without a pause are counted as if they came so often."""

LEAST_ROUNDS_BETWEEN = 10.0


def watch_settings(configuration: Configuration) -> WatchSettings:
    """What the charts' limits are computed from."""
    chosen, every_s = configuration.watch, configuration.canaries.every_s
    rounds = chosen.days_between_false_alarms * DAY_S / max(every_s, SHORTEST_ROUND_S)
    return WatchSettings(
        rounds_between_false_alarms=max(rounds, LEAST_ROUNDS_BETWEEN),
        tolerated_growth=chosen.tolerated_growth,
        calm_rounds=chosen.calm_rounds,
        failed_loss=chosen.failed_loss,
    )


def policy_of(configuration: Configuration) -> Policy:
    """What is asked of a calibration that nobody asked for."""
    chosen = configuration.calibration
    return Policy(
        allowance=Allowance(chosen.bytes_per_day, chosen.erases_per_day, chosen.days_kept),
        price=chosen.least_gain,
        minimum_interval_s=chosen.least_interval_s,
        retry_s=chosen.least_interval_s,
        longest_retry_s=chosen.longest_interval_s,
        settled_k=chosen.settled_k,
        settling_s=chosen.settling_s,
        needs_mains=chosen.needs_mains,
    )
