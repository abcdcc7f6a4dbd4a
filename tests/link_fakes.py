"""Stand-ins for a board and for the line to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from agent.errors import AgentError, LinkLostError
from agent.link.board import Activate, Calibrate, Facts, LayerRow, Outcome, Readable, Report, Say
from agent.link.connection import Connection


class FakeBoard:
    """A board in memory: says what it was told to do, and takes as long as a test wants.

    A calibration waits for `gate`; `fails` is raised by every job.
    """

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fails: AgentError | None = None
        self.values = {"chip/age_s": "0", "npp/version": "9.9"}
        self.files = {"bundle.npp": bytes(range(256)) * 20, "history.jsonl": b"{}\n"}
        self.resets = 0

    def facts(self) -> Facts:
        return Facts(
            agent="9.9",
            model="small",
            scheme="int8",
            runtime="cim",
            chip="ideal",
            factors=3,
            state="healthy",
            score=1.25,
            mean_error=0.125,
            measured_s=1000.0,
            calibrated_s=900.0,
            accepted=True,
            temperature_c=None,
            written_bytes=4096,
        )

    def statistics(self) -> Mapping[str, Mapping[str, int]]:
        return {"npp": {"sequence": 3, "error_ppm": 125_000}, "first": {"error_ppm": 1, "rank": 8}}

    def layers(self) -> list[LayerRow]:
        return [LayerRow(f"layer_{i}", 0.01 * i, 40.0 - i, 8, None) for i in range(40)]

    def status(self) -> Mapping[str, Any]:
        return {"model": "small", "sequence": 3, "long": "x" * 5000}

    def history(self, last: int | None) -> Mapping[str, Any]:
        entry = {"event": "calibration", "sequence": 3, "held_back": {"before": 2.0, "after": 0.5}}
        return {"entries": [entry] * min(last or 3, 50), "damaged_lines": 0}

    def settings(self) -> Mapping[str, str]:
        return self.values

    def writable_settings(self) -> tuple[str, ...]:
        return ("chip/age_s",)

    def change_setting(self, name: str, value: str) -> None:
        self.values[name] = value

    def file(self, name: str) -> Readable | None:
        data = self.files.get(name)
        return None if data is None else Readable(len(data), lambda at, n: data[at : at + n])

    def measure(self, conditions: Mapping[str, float | None], report: Report, say: Say) -> Outcome:
        del say
        return self._done(("measure", dict(conditions)), report)

    def calibrate(self, request: Calibrate, report: Report, say: Say) -> Outcome:
        report(1, 4)
        say("recoverable: a lot")
        assert self.gate.wait(30)
        return self._done(request, report, {"event": "calibration", "accepted": True})

    def rollback(self, to: int | None) -> Outcome:
        return self._done(("rollback", to), lambda _done, _total: None)

    def activate(self, request: Activate, report: Report, say: Say) -> Outcome:
        del say
        return self._done(request, report)

    def reset(self) -> None:
        self.resets += 1

    def _done(
        self, call: object, report: Report, event: Mapping[str, Any] | None = None
    ) -> Outcome:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        report(4, 4)
        return Outcome({"done": str(call)}, event=event or {})


class BoardLine:
    """The client's end of a line with a board behind it, without any I/O.

    What goes over it, either way, goes through `spoil` first, line by line.
    """

    def __init__(
        self, connection: Connection, spoil: Callable[[bytes], bytes] = lambda line: line
    ) -> None:
        self.connection, self.spoil = connection, spoil
        self.back = bytearray()
        self.sent = self.received = 0
        self.lost_after: int | None = None
        """After so many bytes the cable is pulled."""

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        if self.lost_after is not None and self.sent > self.lost_after:
            raise LinkLostError("the line is gone (pulled)")
        arrived = b"".join(self.spoil(line) for line in data.splitlines(keepends=True))
        answer = self.connection.receive(arrived)
        self.received += len(answer)
        self.back += b"".join(self.spoil(line) for line in answer.splitlines(keepends=True))

    def read(self, timeout_s: float) -> bytes:
        del timeout_s  # what comes is there at once, or never
        due = self.connection.due()
        self.back += due
        data, self.back = bytes(self.back), bytearray()
        return data

    def close(self) -> None:
        """Nothing is held."""
