"""One calibration divided into stages: processor seconds of each, as JSON.

    python tools/bench_stages.py STORE SAMPLES

Functions are wrapped by a clock that stops while another one inside them runs. What belongs to no
stage is the rest: choosing, sensitivities, judging, the report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import loop, session
from agent.loop import CalibrationRequest
from agent.runtimes.cim import CimRuntime
from agent.store.store import Store
from calib import grouped_fit, layer_fit
from calib.references import RecomputedReferences
from calib.row_sums import RowSums

REST = "the rest"
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("open the store, write the chip", session, "open_session"),
    ("references: the float network", RecomputedReferences, "block"),
    ("chip: single layers", CimRuntime, "probe"),
    ("chip: whole network, judging", CimRuntime, "run"),
    ("chip: whole network, moment pass", CimRuntime, "run_adjusting"),
    ("sums", RowSums, "add"),
    ("solve", layer_fit, "solved_layer"),
    ("rounding of A", layer_fit, "rounded_rows"),
    ("rounding of A", grouped_fit, "rounded_rows"),
    ("forecast", loop, "forecast"),
    ("commit", Store, "commit_factors"),
)


@dataclass
class Clock:
    """Processor seconds by stage; only the innermost one counts."""

    seconds: dict[str, float] = field(default_factory=dict)
    _stack: list[str] = field(default_factory=lambda: [REST])
    _last: float = field(default_factory=time.process_time)

    def turn(self) -> None:
        """Give the time since the last turn to the innermost stage."""
        now = time.process_time()
        self.seconds[self._stack[-1]] = self.seconds.get(self._stack[-1], 0.0) + now - self._last
        self._last = now

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time given to a stage."""

        def run(*given: Any, **named: Any) -> Any:
            self.turn()
            self._stack.append(stage)
            try:
                return function(*given, **named)
            finally:
                self.turn()
                self._stack.pop()

        return run


def main() -> None:
    """Calibrate once and print the stages."""
    store, samples = Store(Path(sys.argv[1])), int(sys.argv[2])
    clock = Clock()
    for stage, owner, name in STAGES:
        setattr(owner, name, clock.timed(stage, getattr(owner, name)))
    with store.lock():
        opened = session.open_session(store)
        opened.calibrate(CalibrationRequest(samples=samples))
    clock.turn()
    names = [*dict.fromkeys(stage for stage, _, _ in STAGES), REST]
    print(json.dumps({"stages": {name: clock.seconds.get(name, 0.0) for name in names}}))


if __name__ == "__main__":
    main()
