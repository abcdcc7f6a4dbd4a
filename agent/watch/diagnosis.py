"""What has changed: nothing, the chip, the inputs or both."""

from __future__ import annotations

from dataclasses import dataclass

from agent.watch.inputs import LiveInputs
from agent.watch.states import DRIFTED, FAILED
from agent.watch.watching import Watch, explain

NOTHING, CHIP, INPUT, BOTH = "nothing", "chip", "input", "both"


@dataclass(frozen=True)
class Diagnosis:
    """What has changed, and the sentence that says so."""

    changed: str
    reason: str


def diagnose(watch: Watch, live: LiveInputs | None) -> Diagnosis:
    """Tell a change of the chip from a change of its inputs.

    Canaries are the same inputs ever again, so that only the chip can change their errors; live
    inputs have no references, so that only their statistics tell of them.
    """
    chip = watch.state in {DRIFTED, FAILED}
    moved = live is not None and live.moved
    said = explain(watch)
    if not moved or live is None:
        return Diagnosis(CHIP if chip else NOTHING, said)
    inputs = f"the inputs have moved, {live.most_moved}"
    if chip:
        return Diagnosis(BOTH, f"{inputs}; the chip has, too: {said}")
    return Diagnosis(INPUT, f"{inputs}; the chip has not: {said}")
