"""What a line needs of the service that it leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.api import Agent
from agent.notices import TellNotice
from agent.service.settings import Configuration


@dataclass(frozen=True)
class Hooks:
    """Of one service."""

    agent: Agent
    log: TellNotice
    restart: Callable[[], None]
    """Begin anew: read the configuration and the store again."""

    answers: Callable[[], int]
    configuration: Configuration
