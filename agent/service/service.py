"""The service's main loop: an input, its answers, and in between what keeps the chip well.

Everything that may take long happens elsewhere: swaps and calibrations in threads, reading in the
source. Who wants the service to stop sets a flag, which is looked at between two inputs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.api import Agent
from agent.errors import AgentError, InputError
from agent.notices import Notice, warning
from agent.service.answers import AnswerWriter
from agent.service.canaries import Canaries
from agent.service.journal import Log
from agent.service.keeper import Keeper
from agent.service.notify import Notifier
from agent.service.settings import Configuration
from agent.service.signals import Signals
from agent.service.sources import EndOfSource, Frame, Source
from device_models.errors import DeviceModelError

LONGEST_WAIT_S = 0.1
"""For an input; so long a signal may wait."""


@dataclass
class Service:
    """All that a running service is made of."""

    agent: Agent
    source: Source
    writer: AnswerWriter
    canaries: Canaries
    keeper: Keeper
    log: Log
    notifier: Notifier
    signals: Signals
    configuration: Configuration
    reread: Callable[[], Configuration]
    """Reads the configuration again.

    Raises:
        InputError: it cannot be used now.
    """

    def run(self) -> None:
        """Answer until the source ends or a signal says stop.

        Raises:
            InputError: the source is damaged, and cannot go on.
            OSError: nobody reads the answers.
        """
        model = self.agent.session.package.model
        self.log(Notice("ready", {"model": model, "factors": self.agent.sequence}))
        self.notifier.ready(f"answers with {model}")
        reason = "error"
        try:
            while self.signals.stop is None:
                self._step()
            reason = self.signals.stop
        except EndOfSource:
            reason = "the source has ended"
        finally:
            self.notifier.stopping()
            self.agent.stop()
            self.keeper.finish()
            counts = {"answers": self.writer.answers, "errors": self.writer.errors}
            self.log(Notice("stopped", {"reason": reason, **counts}))

    def _step(self) -> None:
        if self.signals.take_reload():
            self._reload()
        self.notifier.alive()
        frame = self.source.next(self.canaries.wait_s(LONGEST_WAIT_S))
        if frame is not None:
            self._answer(frame)
        self._look_after(idle=frame is None)

    def _answer(self, frame: Frame) -> None:
        started_s = time.perf_counter()
        try:
            if frame.x is None:
                raise InputError(frame.problem or "there is nothing in it")
            served = self.agent.serve(frame.x)
        except (AgentError, DeviceModelError) as error:
            self.writer.refuse(frame, str(error))
            self.log(warning("refused", str(error), source=frame.name))
        else:
            self.writer.write(frame, served, time.perf_counter() - started_s)
            self.keeper.live(frame.x)
        self.source.answered(frame)

    def _look_after(self, *, idle: bool) -> None:
        if self.keeper.turn():
            self.canaries.again()
        try:
            done = self.canaries.turn(idle=idle)
        except (AgentError, DeviceModelError) as error:
            self.log(warning("canaries", str(error)))
            return
        if done is not None:
            self.keeper.round(done)
            if self.keeper.in_a_hurry:
                self.canaries.again()

    def _reload(self) -> None:
        """Read the configuration again, and look at the store; what is wrong changes nothing."""
        self.notifier.reloading()
        try:
            new = self.reread()
            self.agent.refresh()
        except AgentError as error:
            self.log(warning("reload", str(error)))
        else:
            self._apply(new)
        self.notifier.ready("answers")

    def _apply(self, new: Configuration) -> None:
        old, self.configuration = self.configuration, new
        self.canaries.settings = new.canaries
        self.keeper.configure(new)
        self.log.level = new.log.level
        self.log(Notice("reload", {"changed": new != old}))
        if (new.service, new.directory) != (old.service, old.directory):
            sections = "what stands in [service] and [directory] takes a restart"
            self.log(warning("reload", sections))
