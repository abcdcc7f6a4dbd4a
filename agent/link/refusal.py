"""What the board answers instead of a result: a code for every client, a sentence for ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.link.codes import Code


class Refusal(Exception):  # noqa: N818  # an answer, and nothing that went wrong here
    """A request that is not answered as it wishes.

    Args:
        text: the sentence, which `reason` of our own group gives to who asks.
        code: the return code of version 1, and of version 2 where the group has none of its own.
        own: the code in the group's own list.
        exit_code: of the command at the other end.
    """

    def __init__(
        self, text: str, code: int = Code.INVALID, *, own: int | None = None, exit_code: int = 1
    ) -> None:
        """Keep what the answer is made of."""
        super().__init__(text)
        self.code, self.own, self.exit_code = code, own, exit_code

    def body(self, group: int, version: int) -> Mapping[str, Any]:
        """The map that answers, as that version of SMP says errors."""
        if version == 1 or self.own is None:
            return {"rc": int(self.code)}
        return {"err": {"group": group, "rc": int(self.own)}}


def busy(what: str) -> Refusal:
    """Something else is being done."""
    return Refusal(f"the board is busy: {what}; try again when it is done", Code.BUSY, exit_code=4)
