"""Group 10: which groups there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.link.codes import Code, EnumerationCode, Group, Op
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.refusal import Refusal
from agent.link.session import Session

COUNT, LIST, INDEX, DETAILS = 0, 1, 2, 3
_MOST = 64
_NAMES = {
    Group.OS: "os mgmt",
    Group.STATISTICS: "statistics mgmt",
    Group.SETTINGS: "settings mgmt",
    Group.FILES: "fs mgmt",
    Group.ENUMERATION: "enum mgmt",
    Group.NPP: "npp-agent",
}


def enumeration_commands(groups: Mapping[int, Commands]) -> Commands:
    """What the group answers; `groups` are all, itself included, once they are there."""

    def count(fields: Fields, _session: Session) -> Mapping[str, Any]:
        fields.end()
        return {"count": len(groups)}

    def numbers(fields: Fields, _session: Session) -> Mapping[str, Any]:
        fields.end()
        return {"groups": [int(one) for one in groups]}

    def one(fields: Fields, _session: Session) -> Mapping[str, Any]:
        index = fields.maybe_whole("index") or 0
        fields.end()
        known = [int(group) for group in groups]
        if index >= len(known):
            raise Refusal(
                f"there are {len(known)} groups",
                Code.NOT_FOUND,
                own=EnumerationCode.INDEX_TOO_LARGE,
            )
        answer: dict[str, Any] = {"group": known[index]}
        return {**answer, "end": True} if index == len(known) - 1 else answer

    def details(fields: Fields, _session: Session) -> Mapping[str, Any]:
        wanted = fields.wholes("groups", _MOST)
        fields.end()
        return {
            "groups": [
                {"group": int(group), "name": _NAMES[Group(group)], "handlers": len(commands)}
                for group, commands in groups.items()
                if wanted is None or group in wanted
            ]
        }

    return {
        (COUNT, Op.READ): count,
        (LIST, Op.READ): numbers,
        (INDEX, Op.READ): one,
        (DETAILS, Op.READ): details,
    }
