"""A service put together from its configuration, and run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from agent.api import Agent
from agent.notices import Notice
from agent.service.answers import AnswerWriter
from agent.service.canaries import Canaries
from agent.service.hooks import Hooks
from agent.service.journal import stderr_log
from agent.service.keeper import Keeper, Seen, nobody
from agent.service.notify import Notifier
from agent.service.service import Service
from agent.service.settings import Configuration
from agent.service.signals import Signals
from agent.service.sources import LastingSource, open_source

SWITCH_INTERVAL_S = 0.001
"""How long a thread that loads or calibrates may keep the interpreter from one that answers."""


@contextmanager
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
        ExitStack() as ends,
    ):
        package = agent.session.package
        writer = AnswerWriter(sys.stdout, classes=package.network.decision.classes)
        seen: Seen = nobody
        if configuration.link.ports:
            from agent.service.linked import linked  # noqa: PLC0415  # boards without a line

            hooks = Hooks(agent, log, signals.ask_reload, lambda: writer.answers, configuration)
            seen = ends.enter_context(linked(hooks))
        log(Notice("opened", {"store": agent.session.store.directory, "runtime": package.runtime}))
        Service(
            agent=agent,
            source=LastingSource(source) if configuration.link.ports else source,
            writer=writer,
            canaries=Canaries(agent, configuration.canaries),
            keeper=Keeper(agent, configuration, log, seen),
            log=log,
            notifier=Notifier(),
            signals=signals,
            configuration=configuration,
            reread=reread,
        ).run()
