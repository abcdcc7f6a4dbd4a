"""Stand-ins that fail and lose power where a test wants it; the disks are in fake_disks.py."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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

    block_bytes, page_bytes, wears = 4096, 256, True

    def __init__(self, slot_bytes: int = 3 * 4096, slot_count: int = 2) -> None:
        self.slot_bytes, self.slot_count = slot_bytes, slot_count
        self.memory = [bytearray(b"\xff" * slot_bytes) for _ in range(slot_count)]
        self.wear = [0] * slot_count
        self.bad: set[int] = set()
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
            self.wear[slot] += offset == 0

    def bad_slots(self) -> set[int]:
        return self.bad

    def mark_bad(self, slot: int) -> None:
        self.bad.add(slot)

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


class RuntimeWithTimes:
    """Another runtime, and times for its branches: `costs` by layer, in times of the plain network.

    Several side by side take `together` times the sum of what each takes alone.
    """

    def __init__(
        self, inner: ProbingRuntime | None, costs: Mapping[str, float], together: float = 1.0
    ) -> None:
        self.costs, self.together = costs, together
        self.asked: list[Mapping[str, int]] = []
        if inner is not None:
            self.layers, self.run, self.probe = inner.layers, inner.run, inner.probe

    def slowdowns(self, variants: Sequence[Mapping[str, int]]) -> list[float]:
        self.asked += variants
        found = []
        for ranks in variants:
            alone = [self.costs[name] for name, rank in ranks.items() if rank]
            found.append(1 + sum(alone) * (self.together if len(alone) > 1 else 1.0))
        return found

    def close(self) -> None:
        """Nothing is held."""
