"""A session for the time of one command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import click

from agent.session import Session, open_session
from agent.store.store import Store


def opened_session(store: Store, conditions: Mapping[str, float | None]) -> Session:
    """Open a store's session; what its runtime holds is given back when the command ends.

    Raises:
        AgentError: nothing is installed, or it cannot be loaded.
        DeviceModelError: the chip cannot be programmed.
    """
    return click.get_current_context().with_resource(closing(open_session(store, **conditions)))
