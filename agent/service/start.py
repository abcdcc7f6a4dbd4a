"""A service put together from its configuration, and run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

from agent.api import Agent
from agent.notices import Notice
from agent.service.answers import AnswerWriter
from agent.service.canaries import Canaries
from agent.service.journal import stderr_log
from agent.service.keeper import Keeper, RatioWatch
from agent.service.notify import Notifier
from agent.service.service import Service
from agent.service.settings import Configuration
from agent.service.signals import Signals
from agent.service.sources import open_source

SWITCH_INTERVAL_S = 0.001
"""How long a thread that loads or calibrates may keep the interpreter from one that answers."""


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def serve(configuration: Configuration, reread: Callable[[], Configuration], *, once: bool) -> None:
    """Run the service until its source ends or a signal says stop; the main thread's work.

    Args:
        configuration: how.
        reread: reads it again, for SIGHUP.
        once: a source that is a directory ends when there is nothing new in it.

    Raises:
        InputError: there is no such source, or it cannot go on.
        StoreLockedError: another agent runs on this store.
        AgentError: nothing is installed, or it cannot be loaded.
    """
    log = stderr_log(configuration.log.level)
    service = configuration.service
    with (
        _switching_often(),
        Signals() as signals,
        closing(open_source(service.source, configuration.directory, once=once)) as source,
        Agent.open(service.store or None, follow_s=service.follow_s, tell=log) as agent,
    ):
        package = agent.session.package
        log(Notice("opened", {"store": agent.session.store.directory, "runtime": package.runtime}))
        Service(
            agent=agent,
            source=source,
            writer=AnswerWriter(sys.stdout, classes=package.network.decision.classes),
            canaries=Canaries(agent, configuration.canaries),
            keeper=Keeper(agent, configuration.calibration, RatioWatch(agent), log),
            log=log,
            notifier=Notifier(),
            signals=signals,
            configuration=configuration,
            reread=reread,
        ).run()
