"""Group 78, our own: what the agent knows. docs/protocol.md gives the numbers and maps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agent.link.board import Board
from agent.link.cbor import encode_map
from agent.link.codes import PROTOCOL_VERSION, Code, Npp, Op
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.jobs import Job, Jobs
from agent.link.refusal import Refusal
from agent.link.session import LONGEST_LEASE_S, Session
from agent.strict_json import strict_json

PIECE_BYTES = 1800


def knowledge_commands(board: Board, jobs: Jobs, started_s: float) -> Commands:
    """What the group answers without doing anything."""
    desk = _Desk(board, jobs, started_s)
    return {
        (Npp.STATUS, Op.READ): desk.status,
        (Npp.JOB, Op.READ): desk.job,
        (Npp.LAYERS, Op.READ): desk.layers,
        (Npp.HISTORY, Op.READ): desk.history,
        (Npp.SUBSCRIBE, Op.WRITE): _subscribe,
        (Npp.DOCUMENT, Op.READ): desk.document,
        (Npp.REASON, Op.READ): _reason,
    }


@dataclass(frozen=True)
class _Desk:
    board: Board
    jobs: Jobs
    started_s: float

    def status(self, fields: Fields, session: Session) -> Mapping[str, Any]:
        fields.end()
        job = self.jobs.last
        return {
            "protocol": PROTOCOL_VERSION,
            **asdict(self.board.facts()),
            "uptime_s": time.monotonic() - self.started_s,
            "job": None if job is None else _progress(job),
            "must_sign": session.must_sign,
        }

    def job(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        number, told = fields.whole("job"), fields.maybe_whole("notes") or 0
        fields.end()
        job = self._job(number)
        return {
            **_progress(job),
            "exit_code": job.exit_code,
            "failure": job.failure,
            "notes": list(job.notes[told:]),
        }

    def _job(self, number: int | None = None) -> Job:
        job = self.jobs.last
        if job is None or number not in {None, job.number}:
            now = "there was none yet" if job is None else f"the last one was {job.number}"
            raise Refusal(f"job {number} is not known: {now}", Code.NOT_FOUND)
        return job

    def layers(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        first = fields.maybe_whole("from") or 0
        fields.end()
        rows = [asdict(row) for row in self.board.layers()]
        return {"count": len(rows), "layers": _fitting(rows[first:])}

    def history(self, fields: Fields, _session: Session) -> Mapping[str, Any]:
        last = fields.maybe_whole("last", 1) or 10
        fields.end()
        entries = self.board.history(last)["entries"]
        return {"entries": _fitting([_short(entry) for entry in reversed(entries)])[::-1]}

    def document(self, fields: Fields, session: Session) -> Mapping[str, Any]:
        name, offset = fields.text("name"), fields.whole("off")
        last = fields.maybe_whole("last", 1)
        fields.end()
        if offset == 0:
            session.snapshot = (name, strict_json(self._document(name, last)).encode())
        if session.snapshot is None or session.snapshot[0] != name:
            raise Refusal(f"{name} is read from its beginning on", Code.BAD_STATE)
        data = session.snapshot[1]
        answer = {"off": offset, "data": data[offset : offset + PIECE_BYTES]}
        return {**answer, "len": len(data)} if offset == 0 else answer

    def _document(self, name: str, last: int | None) -> Mapping[str, Any]:
        known: Mapping[str, Callable[[], Mapping[str, Any]]] = {
            "status": self.board.status,
            "history": lambda: self.board.history(last),
            "job": lambda: self._job().document or {},
        }
        if name not in known:
            raise Refusal(f"no document is named {name!r}, but {', '.join(known)}", Code.NOT_FOUND)
        return known[name]()


def _progress(job: Job) -> Mapping[str, Any]:
    return {
        "job": job.number,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
    }


def _fitting(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows, as many as go into one answer."""
    left, fitting = PIECE_BYTES, []
    for row in rows:
        left -= len(encode_map(row))
        if left < 0:
            break
        fitting.append(row)
    return fitting


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the history without what is inside it."""
    held_back = entry.get("held_back")
    plain: dict[str, Any] = {
        name: value
        for name, value in entry.items()
        if isinstance(value, str | int | float) and name != "reason"
    }
    if isinstance(held_back, Mapping):
        plain |= {name: held_back.get(name) for name in ("before", "after")}
    return plain


def _subscribe(fields: Fields, session: Session) -> Mapping[str, Any]:
    lease_s = fields.whole("lease_s", 0, 86_400)
    fields.end()
    return {"lease_s": int(session.subscribe(min(lease_s, LONGEST_LEASE_S)))}


def _reason(fields: Fields, session: Session) -> Mapping[str, Any]:
    fields.end()
    refused = session.refused
    if refused is None:
        return {"text": "nothing was refused on this connection", "exit_code": 0}
    return {"text": str(refused)[:1500], "exit_code": refused.exit_code}
