"""Group 2: counters of the agent, and the layers' errors in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.link.board import Board
from agent.link.codes import Code, Op, StatisticsCode
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.refusal import Refusal
from agent.link.session import Session

DATA, LIST = 0, 1


def statistics_commands(board: Board) -> Commands:
    """What the group answers."""

    def data(fields: Fields, _session: Session) -> Mapping[str, Any]:
        name = fields.text("name")
        fields.end()
        groups = board.statistics()
        if name not in groups:
            raise Refusal(
                f"there are no statistics of {name!r}, but of {', '.join(groups)}",
                Code.NOT_FOUND,
                own=StatisticsCode.UNKNOWN_GROUP,
            )
        return {"name": name, "fields": dict(groups[name])}

    def names(fields: Fields, _session: Session) -> Mapping[str, Any]:
        fields.end()
        return {"stat_list": list(board.statistics())}

    return {(DATA, Op.READ): data, (LIST, Op.READ): names}
