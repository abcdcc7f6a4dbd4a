"""Canaries: held-back samples run one at a time between inferences, until they make a measurement.

Their pace bounds what they cost: after a canary that took c seconds, the next one waits for
c (1 - share) / share, so that they never take more than their share of any longer time. A source
that always has an input ready is interrupted only at half that pace; else they run while there is
nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.api import Agent
from agent.measurement import Measuring
from agent.service.settings import CanarySettings
from agent.session import Session
from calib.verify import Judgement

LEAST_RETRY_S = 10.0
"""After a canary that failed."""


@dataclass(frozen=True)
class Round:
    """A complete measurement by canaries."""

    judgement: Judgement
    sequence: int
    """Of the factors that were measured."""

    canaries: int
    busy_s: float
    """What all of them took together."""


class Canaries:
    """Runs the canaries of an agent.

    Args:
        agent: whose.
        settings: how much they may take, and how often a round begins; may be replaced.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        agent: Agent,
        settings: CanarySettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The first round may begin at once."""
        self.settings = settings
        self._agent, self._clock = agent, clock
        self._session: Session | None = None
        self._measuring: Measuring | None = None
        self._ran, self._busy_s = 0, 0.0
        self._round_due_s = self._due_s = self._overdue_s = -float("inf")

    def again(self) -> None:
        """Begin a round at once: what runs has changed."""
        self._measuring, self._round_due_s = None, -float("inf")

    def wait_s(self, longest_s: float) -> float:
        """How long nothing has to be done, if there are no inputs."""
        if not self.settings.share:
            return longest_s
        return min(longest_s, max(self._next_s() - self._clock(), 0.0))

    def turn(self, *, idle: bool) -> Round | None:
        """Run the next canary, if it is its time.

        Args:
            idle: no input is waiting.

        Returns:
            The measurement, when this canary was its last.

        Raises:
            AgentError, DeviceModelError: the runtime fails; the round has ended.
        """
        now_s = self._clock()
        if not self.settings.share or now_s < self._next_s():
            return None
        if not idle and now_s < self._overdue_s:
            return None
        with self._agent.between_changes() as session:
            return None if session is None else self._run(session, now_s)

    def _next_s(self) -> float:
        return self._due_s if self._measuring is not None else max(self._due_s, self._round_due_s)

    def _run(self, session: Session, started_s: float) -> Round | None:
        if session is not self._session or self._measuring is None:
            loop = session.loop
            self._session = session
            self._measuring = Measuring(loop.runtime, loop.network, loop.factors)
            self._ran, self._busy_s = 0, 0.0
            self._round_due_s = started_s + self.settings.every_s
        try:
            self._measuring.add(1)
        except Exception:
            self._give_up()
            raise
        self._pace(started_s)
        if self._measuring.left:
            return None
        judgement, self._measuring = self._measuring.judgement(), None
        return Round(judgement, session.sequence, self._ran, self._busy_s)

    def _give_up(self) -> None:
        """End a round that cannot be measured; the next one is not for a while."""
        self._measuring = None
        self._due_s = self._overdue_s = self._clock() + max(self.settings.every_s, LEAST_RETRY_S)

    def _pace(self, started_s: float) -> None:
        now_s = self._clock()
        took_s, share = now_s - started_s, self.settings.share
        pause_s = took_s * (1 - share) / share
        self._ran, self._busy_s = self._ran + 1, self._busy_s + took_s
        self._due_s, self._overdue_s = now_s + pause_s, now_s + 2 * pause_s
