"""How a group says what it answers: a table of commands by number and operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.link.codes import Op
from agent.link.fields import Fields
from agent.link.session import Session

Handler = Callable[[Fields, Session], Mapping[str, Any]]
"""Answers a request with a map, or raises `Refusal`."""

Commands = Mapping[tuple[int, Op], Handler]
"""By number of the command and operation."""
