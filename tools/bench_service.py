"""Benchmark of `npp-agent run`: what canaries cost inferences, and how much memory it takes.

    NPP_DATA=DIR python tools/bench_service.py [--quick] [--runtime onnxruntime] [--out FILE.md]

MLPerf Tiny's ResNet-8 in int8, as a process of its own that reads `.npy` frames from a pipe.
Latency is seen from outside: from the frame that is written to the line that is read, one frame
after another. With canaries means round after round without a pause, the most there can be at the
default share. Both services run at once and are asked in turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_report import machine, markdown_table
from bench_swap import package

from agent.chip import IDEAL, describe_chip
from agent.installation import install
from agent.runtimes.base import Float32
from agent.runtimes.names import ONNXRUNTIME, RUNTIMES
from agent.store.bundle import open_bundle
from agent.store.package import Package, package_bytes
from agent.store.store import Store

HERE = Path(__file__).resolve().parent
VARIANTS = {
    "without": {"NPP_CANARIES_SHARE": "0"},
    "with": {"NPP_CANARIES_EVERY_S": "0"},
}


@dataclass
class Service:
    """A service that runs, and what was seen of it."""

    process: subprocess.Popen[bytes]
    latencies_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def ask(self, frame: bytes) -> None:
        """One frame, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        started = time.perf_counter()
        self.process.stdin.write(frame)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.latencies_ms.append(1000 * (time.perf_counter() - started))
        if "error" in json.loads(line):
            raise SystemExit(line.decode())

    def saturate(self, frame: bytes, count: int) -> None:
        """As many frames as the pipe takes, and how many are answered in a second."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        pipe, started = self.process.stdin, time.perf_counter()
        writing = threading.Thread(target=lambda: [pipe.write(frame) for _ in range(count)])
        writing.start()
        for _ in range(count - 20):  # the last ones may wait in a buffer
            self.process.stdout.readline()
        self.rates.append((count - 20) / (time.perf_counter() - started))
        writing.join()
        pipe.flush()
        for _ in range(20):
            self.process.stdout.readline()

    def megabytes(self, name: str) -> float:
        """`VmRSS`, resident now, or `VmHWM`, at most so far, in MB (10⁶ bytes)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024 / 1e6


@contextlib.contextmanager
def running(folder: Path, content: Package, variant: str) -> Iterator[Service]:
    """The service on a store of its own."""
    bundle, store = open_bundle(folder / "network.npp"), Store(folder / f"store-{variant}")
    with store.lock(create=True):
        install(store, bundle, content, describe_chip(IDEAL, 0))
    command = [sys.executable, "-m", "agent.cli", "run", "--source", "-", "--store"]
    with subprocess.Popen(
        [*command, str(store.directory)],
        cwd=HERE.parent,
        env={**os.environ, **VARIANTS[variant]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield Service(process)
        assert process.stdin is not None
        process.stdin.close()


def frame_of(sample: Float32) -> bytes:
    """A sample in `.npy` form."""
    file = io.BytesIO()
    np.save(file, sample)
    return file.getvalue()


def measure(services: dict[str, Service], frame: bytes, rounds: int, each: int) -> None:
    """Ask all services in turns, one frame after another and as many as they take."""
    for service in services.values():
        for _ in range(20):
            service.ask(frame)
        service.latencies_ms.clear()
    for _ in range(rounds):
        for service in services.values():
            for _ in range(each):
                service.ask(frame)
    for _ in range(rounds):
        for service in services.values():
            service.saturate(frame, each)


def flat(service: Service, frame: bytes, count: int) -> list[float]:
    """Resident MB at every tenth of so many inferences."""
    sizes = []
    for _ in range(10):
        service.saturate(frame, count // 10)
        sizes.append(service.megabytes("VmRSS"))
    return sizes


def report(data: Path, runtime: str, rounds: int, each: int, many: int) -> str:
    """The whole report."""
    content = package(data, runtime)
    frame = frame_of(content.network.references.block(np.arange(1), with_rows=False).inputs[0])
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        (folder / "network.npp").write_bytes(package_bytes(content))
        services = {
            variant: ends.enter_context(running(folder, content, variant)) for variant in VARIANTS
        }
        measure(services, frame, rounds, each)
        rows = [row(variant, service) for variant, service in services.items()]
        sizes = flat(services["with"], frame, many)
        peaks = {variant: service.megabytes("VmHWM") for variant, service in services.items()}
    head = ["canaries", "median, ms", "95 %, ms", "99 %, ms", "count", "inferences a second, busy"]
    return f"""## {runtime}

{markdown_table(head, rows)}

Peak resident memory {peaks["without"]:.1f} MB without canaries, {peaks["with"]:.1f} MB with them.
Over {many} inferences with canaries the resident memory was {min(sizes):.1f} to {max(sizes):.1f} MB
({sizes[0]:.1f} at the first tenth, {sizes[-1]:.1f} at the end).
"""


def row(variant: str, service: Service) -> list[str]:
    """One variant."""
    shares = np.percentile(service.latencies_ms, [50, 95, 99])
    figures = [f"{value:.2f}" for value in shares]
    return [variant, *figures, str(len(service.latencies_ms)), f"{np.median(service.rates):.0f}"]


def main() -> None:
    """Measure, and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--runtime", choices=RUNTIMES, default=ONNXRUNTIME)
    parser.add_argument("--out", type=Path, help="write the report here too")
    chosen = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and their data")
    rounds, each, many = (4, 200, 2000) if chosen.quick else (12, 500, 100_000)
    found = report(Path(os.environ["NPP_DATA"]), chosen.runtime, rounds, each, many)
    found = f"{machine('packing seed 0')}\n\n{found}"
    print(found)
    if chosen.out:
        chosen.out.write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
