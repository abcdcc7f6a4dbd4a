"""What another process did to the store of a running agent, taken over.

Other factors are swapped in. Another bundle or chip, or another state of an emulated chip, is
loaded anew, beside what runs until then. What cannot be used is told once, and the agent answers
on as before.
"""

from __future__ import annotations

from agent.errors import AgentError, RuntimeUnavailableError
from agent.notices import Notice, TellNotice, warning
from agent.running import Running, active_sequence, opened
from agent.session import Session
from calib.errors import CalibError
from device_models.errors import DeviceModelError

TRIES = 3
"""For factors that do not answer their check."""


class Newest:
    """Follows a store.

    Args:
        session: what was loaded from it.
        tell: is told what is taken over, and what is not.
    """

    def __init__(self, session: Session, tell: TellNotice) -> None:
        """This session is the newest."""
        self._tell = tell
        self.is_in(session)

    def is_in(self, session: Session) -> None:
        """Note that a session has all that its store has: the agent itself changed both."""
        self._known = (session.installed, session.sequence)

    def of(self, running: Running) -> Running:
        """What runs from now on; the same where nothing is new, or the new cannot be used.

        Raises:
            StoreError: the store cannot be read, or has gone.
        """
        store = running.session.store
        found = (store.state(), active_sequence(store))
        if found == self._known:
            return running
        same_bundle = found[0] == running.session.installed
        self._known = found
        try:
            return self._with_factors(running) if same_bundle else self._reloaded(running)
        except (AgentError, CalibError, DeviceModelError) as error:
            factors = running.serving.sequence
            self._tell(warning("not-taken-over", str(error), factors=factors))
            return running

    def _with_factors(self, running: Running) -> Running:
        after, swap, sentence = running.with_active()
        for _ in range(TRIES - 1):
            if not swap.accepted:  # a chip's noise may have failed the check
                after, swap, sentence = running.with_active()
        if sentence is not None:
            self._tell(warning("store", sentence))
        if not swap.accepted:
            raise RuntimeUnavailableError(str(swap.reason))
        figures = {"factors": after.serving.sequence, "swap_ms": 1000 * swap.seconds}
        self._tell(Notice("factors", figures))
        return after

    def _reloaded(self, running: Running) -> Running:
        after = opened(running.session.store)
        running.session.close()
        for sentence in after.session.warnings:
            self._tell(warning("store", sentence))
        bundle = after.session.installed.bundle_id[:12]
        self._tell(Notice("reloaded", {"bundle": bundle, "factors": after.serving.sequence}))
        return after
