"""Group 3: settings as text; some may be changed, and a change is durable at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.link.board import Board
from agent.link.codes import Code, Op, SettingsCode
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.jobs import Jobs
from agent.link.refusal import Refusal, busy
from agent.link.session import Session

READ_WRITE, DELETE, COMMIT, LOAD_SAVE = 0, 1, 2, 3


def settings_commands(board: Board, jobs: Jobs) -> Commands:
    """What the group answers."""
    settings = _Settings(board, jobs)
    return {
        (READ_WRITE, Op.READ): settings.read,
        (READ_WRITE, Op.WRITE): settings.write,
        (DELETE, Op.WRITE): settings.delete,
        (COMMIT, Op.WRITE): _nothing_to_do,
        (LOAD_SAVE, Op.READ): _nothing_to_do,
        (LOAD_SAVE, Op.WRITE): _nothing_to_do,
    }


@dataclass(frozen=True)
class _Settings:
    board: Board
    jobs: Jobs

    def read(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        _, value = self._known(fields)
        largest = fields.maybe_whole("max_size")
        fields.end()
        data = value.encode()
        return {"val": data if largest is None else data[:largest]}

    def write(self, fields: Fields, session: Session) -> Mapping[str, Any]:
        name, _ = self._known(fields)
        data = fields.data("val")
        fields.end()
        session.must_be_allowed(f"changing {name}")
        if name not in self.board.writable_settings():
            raise Refusal(
                f"{name} cannot be changed over a link",
                Code.ACCESS_DENIED,
                own=SettingsCode.WRITE_NOT_SUPPORTED,
            )
        if self.jobs.running is not None:
            raise busy(f"{self.jobs.running.kind} runs")
        try:
            self.board.change_setting(name, data.decode())
        except UnicodeDecodeError as error:
            raise Refusal(f"the value of {name} is no text") from error
        return {}

    def delete(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        name, _ = self._known(fields)
        raise Refusal(
            f"{name} cannot be deleted", Code.NOT_SUPPORTED, own=SettingsCode.DELETE_NOT_SUPPORTED
        )

    def _known(self, fields: Fields) -> tuple[str, str]:
        name = fields.text("name")
        value = self.board.settings().get(name)
        if value is None:
            raise Refusal(
                f"there is no setting {name!r}", Code.NOT_FOUND, own=SettingsCode.NOT_FOUND
            )
        return name, value


def _nothing_to_do(fields: Fields, _session: Session) -> Mapping[str, Any]:
    fields.end()
    return {}
