"""The watch over the chip that runs now, with the rounds that it calls normal.

The first rounds with new factors are the baseline. They are kept in the store, so that a restart
takes no drifted chip for a normal one. Where there are none, as for factors that a person has
made before the service was there, the rounds that come are taken; if they are far worse than what
the history says of those factors, the chip counts as drifted all the same (`agent.drift`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from agent.drift import Drift
from agent.watch.diagnosis import BOTH, CHIP, INPUT, Diagnosis, diagnose
from agent.watch.inputs import LiveInputs
from agent.watch.registry import chart_named
from agent.watch.rounds import CanaryRound
from agent.watch.settings import WatchSettings
from agent.watch.states import DRIFTED, FAILED, HEALTHY, UNKNOWN, WATCH
from agent.watch.watching import Watch, begin, limits, look, refused

NO_DRIFT = Drift("unknown", None)
NEEDS_REPAIR = (DRIFTED, FAILED)


@dataclass(frozen=True)
class ChipWatch:
    """What is known of the chip with the factors that run."""

    watch: Watch
    baseline: tuple[CanaryRound, ...] = ()
    """The first rounds; as many as the settings ask for, once they are complete."""

    earlier: Drift | None = None
    """How the chip compares with what the history says of these factors, where it was worse than
    that from the first round on."""

    @classmethod
    def begun(cls, settings: WatchSettings, layers: Iterable[str]) -> ChipWatch:
        """Nothing is known yet."""
        names = tuple(layers)
        for chart in settings.charts:  # remembered; computed here, where no input waits for it
            limits(settings, chart_named(chart), len(names))
        return cls(begin(settings, names))

    @property
    def is_ready(self) -> bool:
        """Whether the baseline is complete."""
        return self.watch.state != UNKNOWN

    @property
    def compares(self) -> bool:
        """Whether it matters how a round compares with what the history says."""
        return not self.is_ready or self.earlier is not None

    @property
    def drift(self) -> Drift:
        """The state, and the score that `measure` gives: of layer errors."""
        if self.earlier is not None and self.watch.state in {HEALTHY, WATCH}:
            return self.earlier
        return Drift(self.watch.state, self.watch.score)

    def look(self, seen: CanaryRound, compared: Drift) -> ChipWatch:
        """Take a round of canaries in.

        Args:
            seen: the round.
            compared: how it compares with what the history says of these factors, where that
                matters.
        """
        collecting = not self.is_ready
        after = replace(self, watch=look(self.watch, seen))
        if collecting:
            after = replace(after, baseline=(*self.baseline, seen))
        if after.is_ready and self.compares and compared.state in NEEDS_REPAIR:
            return replace(after, earlier=Drift(DRIFTED, compared.score))
        return replace(after, earlier=None)

    def refused(self, *, promising: bool) -> ChipWatch:
        """Note a calibration that did not help; `promising`: its forecast saw something to gain."""
        return replace(self, watch=refused(self.watch, promising=promising))

    def with_settings(self, settings: WatchSettings) -> ChipWatch:
        """The same under other settings."""
        return replace(self, watch=replace(self.watch, settings=settings))

    def diagnosis(self, live: LiveInputs | None) -> Diagnosis:
        """What has changed: nothing, the chip, the inputs or both."""
        found = diagnose(self.watch, live)
        if self.earlier is None or found.changed in {CHIP, BOTH}:
            return found
        score = math.inf if self.earlier.score is None else self.earlier.score
        said = (
            f"{self.earlier.state}: mean layer error {score:.3g} times that which the history "
            "gives for these factors"
        )
        return Diagnosis(BOTH if found.changed == INPUT else CHIP, f"{said}; {found.reason}")

    def document(self) -> dict[str, Any]:
        """What is kept over restarts: the baseline, and what calibrations could not do."""
        names = self.watch.layers
        rows = [[*(seen.errors[name] for name in names), seen.loss] for seen in self.baseline]
        return {
            "baseline": [[_short(value) for value in row] for row in rows],
            "refusals": self.watch.refusals,
            "hopeless": self.watch.hopeless,
        }

    def recalled(self, document: Any) -> ChipWatch:
        """This watch, just begun, with the baseline of a document; without where it has none."""
        try:
            rows = [[float(value) for value in row] for row in document["baseline"]]
            refusals, hopeless = int(document["refusals"]), bool(document["hopeless"])
        except (KeyError, TypeError, ValueError):
            return self
        names, settings = self.watch.layers, self.watch.settings
        watch = self.watch
        fits = all(len(row) == len(names) + 1 and all(map(math.isfinite, row)) for row in rows)
        rounds: tuple[CanaryRound, ...] = ()
        if fits and len(rows) == settings.least_rounds:
            rounds = tuple(
                CanaryRound(dict(zip(names, row[:-1], strict=True)), row[-1]) for row in rows
            )
        for seen in rounds:
            watch = look(watch, seen)
        return ChipWatch(replace(watch, refusals=refusals, hopeless=hopeless), rounds)


def _short(value: float) -> float | None:
    """With the digits that matter; None, which no baseline is recalled with, for no number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
