"""Benchmark of the serial link: uploads at a baud rate, round trips, memory, start.

    python tools/bench_link.py [--quick] [--baud-rate 115200] [--out FILE.md]

The board is `npp-agent run` with the bundle of the demo, as a process of its own; the wire between
two ptys carries ten bits a byte at the baud rate, and loses frames when told to (`slow_wire.py`).
Times are wall clock, of a machine that may have other work.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from bench_report import machine, markdown_table
from slow_wire import Wire, joined

from agent.link.client import Ask
from agent.link.codes import Group, Npp, Op
from agent.link.frames import LINE_BYTES
from agent.link.port import LineSettings
from agent.link.remote import Reach, Remote
from agent.link.upload import upload
from agent.listeners import Listeners
from agent.workstation.demo_bundle import DEMO_BUNDLE

UPLOAD_BYTES = 300_000
RUN = [sys.executable, "-m", "agent.cli"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONPATH": str(HERE.parent),
    "OPENBLAS_NUM_THREADS": "1",
    "NPP_CANARIES_SHARE": "0",  # what a line costs, and not what happens to be measured
}
READY = "event=ready"
CHIP = "sram-bitplane"
SEED = 7


def encoded_s(count: int, bytes_per_s: float) -> float:
    """How long the base64 of so many bytes and the frames' marks alone take on the wire."""
    payload = LINE_BYTES - 3
    return count * 4 / 3 * LINE_BYTES / payload / bytes_per_s


@contextmanager
def board(store: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """`npp-agent run`, once it is ready, and how long that took."""
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [*RUN, "run", "--store", str(store), *options],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if READY in line:
            break
    else:
        raise SystemExit("npp-agent run did not become ready")
    ready_s = time.perf_counter() - started_s
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        yield process, ready_s
    finally:
        process.terminate()
        process.wait()


def installed(folder: Path, chip: str) -> Path:
    """A store with the demo's bundle."""
    store = folder / chip
    command = [*RUN, "install", str(DEMO_BUNDLE), "--store", str(store), "--chip", chip]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return store


def uploads(device: str, baud_rate: int, *, quick: bool) -> list[list[Any]]:
    """Rows: what was lost, seconds, over the encoded bytes' time, repeats, intact."""
    data = os.urandom(UPLOAD_BYTES // (20 if quick else 1))
    settings = LineSettings(baud_rate)
    ideal_s = encoded_s(len(data), settings.bytes_per_s)
    rows = []
    for number, (lost, frame_loss, line_loss) in enumerate(
        (
            ("nothing", 0.0, 0.0),
            ("1 % of frames", 0.01, 0.0),
            ("1 % of lines", 0.0, 0.01),
        )
    ):
        name = f"bench-{number}.npp"
        wire = Wire(settings.bytes_per_s, frame_loss, line_loss, seed=SEED)
        with joined(wire, device) as path, Remote(Reach(path, settings)) as remote:
            began_s = time.perf_counter()
            upload(remote.client, name, data, lambda _done, _total: None)
            took_s = time.perf_counter() - began_s
            found = remote.client.ask(Ask(Op.READ, Group.FILES, 2, {"name": name}))
        whole = found["output"] == hashlib.sha256(data).digest()
        gone = wire.frames_lost + wire.lines_lost
        repeats = remote.client.counts.repeats
        rows.append([lost, took_s, took_s / ideal_s, gone, repeats, "yes" if whole else "NO"])
    return rows


def round_trips(device: str, count: int, asks: dict[str, Ask]) -> list[list[Any]]:
    """Rows: what was asked, median, 99th percentile and longest in milliseconds."""
    rows = []
    with Remote(Reach(device)) as remote:
        for name, ask in asks.items():
            times = []
            for _ in range(count):
                began_s = time.perf_counter()
                remote.client.ask(ask)
                times.append(1000 * (time.perf_counter() - began_s))
            times.sort()
            rows.append([name, median(times), times[int(0.99 * (count - 1))], times[-1], count])
    return rows


ASKS = {
    "echo": Ask(Op.WRITE, Group.OS, 0, {"d": "hello"}),
    "status": Ask(Op.READ, Group.NPP, Npp.STATUS, {}),
}


def while_calibrating(devices: Sequence[str]) -> list[list[Any]]:
    """The same round trips while a calibration runs, as long as it does."""
    with Remote(Reach(devices[1])) as other:
        ended = threading.Event()

        def calibrate() -> None:
            other.do(Npp.CALIBRATE, {"samples": 64}, Listeners())
            ended.set()

        thread = threading.Thread(target=calibrate)
        thread.start()
        times: dict[str, list[float]] = {name: [] for name in ASKS}
        with Remote(Reach(devices[0])) as remote:
            while not ended.is_set():
                for name, ask in ASKS.items():
                    began_s = time.perf_counter()
                    remote.client.ask(ask)
                    times[name].append(1000 * (time.perf_counter() - began_s))
        thread.join()
    rows = []
    for name, found in times.items():
        found.sort()
        worst = found[int(0.99 * (len(found) - 1))]
        rows.append([f"{name}, calibrating", median(found), worst, found[-1], len(found)])
    return rows


def resident_kib(process: subprocess.Popen[str]) -> int:
    """What a process has in memory now."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(text.split("VmRSS:")[1].split()[0])


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """What a process has had of the processor so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watched(device: str, process: subprocess.Popen[str], seconds: float) -> list[list[Any]]:
    """Rows: how `monitor` looks ten times a second, and the processor that both ends take."""
    with Remote(Reach(device)) as remote:
        remote.do(Npp.MEASURE, {}, Listeners(), guarded=False)
    rows = []
    for name, options in (("JSON lines", ["--json"]), ("live view", [])):
        ours, theirs = pty.openpty()
        command = [*RUN, "monitor", device, "--every-s", "0.1", *options]
        environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        watching = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, text=True, env=environment
        )
        threading.Thread(target=_drained, args=(ours,), daemon=True).start()
        time.sleep(4)
        before = processor_seconds(watching), processor_seconds(process)
        time.sleep(seconds)
        after = processor_seconds(watching), processor_seconds(process)
        watching.kill()
        watching.wait()
        os.close(theirs)
        shares = [100 * (b - a) / seconds for a, b in zip(before, after, strict=True)]
        rows.append([name, *shares])
    return rows


def _drained(handle: int) -> None:
    with suppress(OSError):
        while os.read(handle, 65_536):
            pass


def costs(store: Path, link: Path, repeat: int) -> list[list[Any]]:
    """Rows: start and memory without and with a line, and what the line adds."""
    found: dict[str, list[tuple[float, float, int]]] = {"without": [], "with": []}
    plain: tuple[str, ...] = ()
    for _ in range(repeat):
        for name, options in (("without", plain), ("with", ("--port", f"pty:{link}"))):
            with board(store, *options) as (process, ready_s):
                processor_s = processor_seconds(process)
                if options:
                    round_trips(str(link), 20, ASKS)
                time.sleep(1.0)
                found[name].append((1000 * ready_s, 1000 * processor_s, resident_kib(process)))
    middle = {
        name: [median(column) for column in zip(*some, strict=True)] for name, some in found.items()
    }
    middle["added by"] = [b - a for a, b in zip(*middle.values(), strict=True)]
    return [[f"{name} a line", a, b, kib / 1024] for name, (a, b, kib) in middle.items()]


ABOUT = (
    "Made by `python tools/bench_link.py`. Times are wall clock while other programs kept both "
    "cores busy: median round trips are the link's, the longest ones the machine's."
)


def shown(rows: list[list[Any]]) -> list[list[str]]:
    """Cells as a reader wants them."""
    return [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in r] for r in rows]


def main() -> None:
    """Measure, print, and write a report where one is wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    parser.add_argument("--baud-rate", type=int, default=115_200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = _report(Path(folder), options)
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


def _report(folder: Path, options: argparse.Namespace) -> str:
    store = installed(folder, CHIP)
    devices = [str(folder / "one"), str(folder / "two")]
    ports = [part for device in devices for part in ("--port", f"pty:{device}")]
    count = 50 if options.quick else 1000
    with board(store, *ports) as (process, _):
        trips = round_trips(devices[0], count, ASKS) + while_calibrating(devices)
        sent = uploads(devices[0], options.baud_rate, quick=options.quick)
        looks = watched(devices[0], process, 2.0 if options.quick else 20.0)
    cost = costs(installed(folder, "ideal"), folder / "three", 1 if options.quick else 7)
    size = UPLOAD_BYTES // (20 if options.quick else 1)
    return (
        "\n\n".join(
            [
                "# The serial link, measured",
                machine(f"frames lost by seed {SEED}, the demo's bundle on {CHIP}"),
                ABOUT,
                f"## Upload of {size:,} bytes at {options.baud_rate:,} baud\n\nOver encoded bytes: "
                "the time beside what base64 and frames of the bytes alone take on the wire.\n\n"
                + markdown_table(
                    ["lost", "seconds", "over encoded bytes", "lost in all", "repeats", "intact"],
                    shown(sent),
                ),
                "## Round trips on a pty, in milliseconds\n\n"
                + markdown_table(["asked", "median", "99 %", "longest", "count"], shown(trips)),
                "## `monitor` at ten looks a second, per cent of a core\n\n"
                + markdown_table(["", "monitor", "board"], shown(looks)),
                "## What a line adds to `npp-agent run`\n\n"
                + markdown_table(
                    ["", "ready after, ms", "processor till then, ms", "resident, MiB"], shown(cost)
                ),
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
