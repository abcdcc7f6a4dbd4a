"""A calibration in a thread of its own, so that requests go on."""

from __future__ import annotations

import threading

from agent.api import Agent
from agent.loop import Calibration, CalibrationRequest
from agent.service.chip_watch import ChipWatch


class Job:
    """Begun when it is made.

    Args:
        agent: whose chip.
        request: how.
        chip: what was known of the chip before.
        sequence: of the factors that ran before.
    """

    def __init__(
        self, agent: Agent, request: CalibrationRequest, chip: ChipWatch, sequence: int
    ) -> None:
        """Begin."""
        self.chip, self.sequence = chip, sequence
        self.done: Calibration | None = None
        self.error: Exception | None = None
        self._agent, self._request = agent, request
        self._thread = threading.Thread(target=self._work, name="npp-calibration", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether it is under way."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Until it has ended."""
        self._thread.join()

    def _work(self) -> None:
        try:
            self.done = self._agent.calibrate(self._request)
        except Exception as error:  # noqa: BLE001  # told by the main loop
            self.error = error
