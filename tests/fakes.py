"""Stand-ins that fail and lose power where a test wants it; the disks are in fake_disks.py."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import AgentError, LinkLostError
from agent.link.board import Activate, Calibrate, Facts, LayerRow, Outcome, Readable, Report, Say
from agent.link.connection import Connection
from agent.loop import Commit
from agent.runtimes.base import LayerTrace, Positions, ProbingRuntime, Runtime, Trace
from calib.factors import Factors
from calib.graph.executor import run
from calib.graph.linear import LinearLayer, multiply
from calib.packed import PackedNetwork

NEVER = 2**31
"""No operation has this number."""


class PowerLoss(BaseException):
    """The power goes; no Exception, so that no handler of errors lives on after its death."""


class NorFlash:
    """Serial NOR flash in memory: erases 4 KiB blocks to ones, programs 256-byte pages to zeros.

    Refuses to turn a zero into a one. Before page or block `cut_at` the power goes; with `torn`
    that page is programmed, or that block erased, in part.
    """

    block_bytes, page_bytes = 4096, 256

    def __init__(self, slot_bytes: int = 3 * 4096) -> None:
        self.slot_bytes = slot_bytes
        self.memory = [bytearray(b"\xff" * slot_bytes) for _ in range(2)]
        self.erases = self.programmed_bytes = self.operations = 0
        self.cut_at, self.torn = NEVER, False
        self.generator = np.random.default_rng(0)

    def read(self, slot: int, offset: int, length: int) -> bytes:
        data = bytes(self.memory[slot][offset : offset + length])
        assert len(data) == length, "read behind the end of the slot"
        return data

    def program(self, slot: int, offset: int, data: bytes) -> None:
        end = offset + len(data)
        while offset < end:
            stop = min(end, (offset // self.page_bytes + 1) * self.page_bytes)
            page, data = data[: stop - offset], data[stop - offset :]
            old = self.memory[slot][offset:stop]
            both = bytes(a & b for a, b in zip(old, page, strict=True))
            assert both == page, f"slot {slot}, byte {offset}: a zero cannot become a one"
            late = self.generator.integers(0, 256, len(page), np.uint8).tobytes()
            torn = bytes(a & (b | c) for a, b, c in zip(old, page, late, strict=True))
            self._operation(slot, offset, torn)
            self.memory[slot][offset:stop] = page
            self.programmed_bytes += len(page)
            offset = stop

    def erase(self, slot: int, length: int) -> None:
        for offset in range(0, length, self.block_bytes):
            old = self.memory[slot][offset : offset + self.block_bytes]
            early = self.generator.integers(0, 256, len(old), np.uint8).tobytes()
            self._operation(slot, offset, bytes(a | b for a, b in zip(old, early, strict=True)))
            self.memory[slot][offset : offset + self.block_bytes] = b"\xff" * len(old)
            self.erases += 1

    def sync(self) -> None:
        """Nothing waits in this memory."""

    def _operation(self, slot: int, offset: int, torn: bytes) -> None:
        if self.operations == self.cut_at:
            if self.torn:
                self.memory[slot][offset : offset + len(torn)] = torn
            raise PowerLoss
        self.operations += 1


def copy_tree(source: Path, target: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


class DeviatingRuntime:
    """Runs a packed network's nominal weights, each off by its own factor; taps only, no probe."""

    def __init__(
        self, network: PackedNetwork, deviation: float, generator: np.random.Generator
    ) -> None:
        self.layers = network.layers
        self.graph = network.decision_graph
        self.runs = 0
        self.weights = {
            layer.name: layer.weight
            * (1 + deviation * generator.standard_normal(layer.weight.shape)).astype(np.float32)
            for layer in network.layers
        }

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        self.runs += 1
        seen: dict[str, LayerTrace] = {}
        replace = {
            layer.name: self._replacement(layer, factors, taps.get(layer.name), seen)
            for layer in self.layers
        }
        answers = run(self.graph, samples, replace=replace)[self.graph.output]
        return Trace(answers, seen)

    def _replacement(
        self, layer: LinearLayer, factors: Factors, positions: Any, seen: dict[str, LayerTrace]
    ) -> Callable[[Any], Any]:
        def replacement(x: Any) -> Any:
            rows = layer.rows(x)
            main = multiply(rows, self.weights[layer.name]) + layer.bias
            outputs = factors[layer.name].apply(main, rows)
            if positions is not None:
                at = (np.arange(len(x))[:, None], positions)
                seen[layer.name] = LayerTrace(rows[at], main[at], outputs[at])
            return layer.tensor(outputs)

        return replacement

    def close(self) -> None:
        """Nothing is held."""


class MemoryStore:
    """Keeps committed factors in memory and what was active at that moment; fails if told to."""

    def __init__(self, active: Callable[[], Factors], fails: Exception | None = None) -> None:
        self.active, self.fails = active, fails
        self.payloads: list[bytes] = []
        self.active_at_commit: list[Factors] = []
        self.log: list[str] = []

    def commit(self, payload: bytes) -> Commit:
        self.log.append("commit")
        self.active_at_commit.append(self.active())
        if self.fails is not None:
            raise self.fails
        self.payloads.append(payload)
        return Commit(len(self.payloads), len(payload))


class LoggedRuntime:
    """Another runtime, each run of it in a log; cannot drive single layers."""

    def __init__(self, inner: Runtime, log: list[str]) -> None:
        self.inner, self.log, self.layers = inner, log, inner.layers

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        self.log.append("run")
        return self.inner.run(samples, factors, taps)

    def close(self) -> None:
        self.inner.close()


class ConservativeRuntime:
    """Another runtime whose answers turn round as soon as it gets other factors than the first."""

    def __init__(self, inner: ProbingRuntime, first: Factors) -> None:
        self.inner, self.first, self.layers = inner, first, inner.layers

    def run(self, samples: Any, factors: Factors, taps: Positions) -> Trace:
        trace = self.inner.run(samples, factors, taps)
        return trace if factors is self.first else Trace(-trace.answers, trace.layers)

    def probe(self, layer: LinearLayer, rows: Any) -> Any:
        return self.inner.probe(layer, rows)

    def close(self) -> None:
        self.inner.close()


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
        return {"entries": [entry] * (last or 3), "damaged_lines": 0}

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
