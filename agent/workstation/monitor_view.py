"""The live view of `monitor`: state, layers with their course, and keys that do something."""

from __future__ import annotations

import select
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from agent.errors import InputError, LinkError
from agent.link.codes import Npp
from agent.link.watching import Snapshot, Watching

try:
    from rich.console import Group
    from rich.live import Live
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    raise InputError(
        "the live view needs rich: python -m pip install 'npp-agent[monitor]'; or use --json, "
        "--csv or --once"
    ) from error

COURSE = 40
"""So many measurements are drawn."""

_BAR = 24
_BLOCKS = "▁▂▃▄▅▆▇█"
_EVENTS = 5
_COLOURS = {"healthy": "green", "watch": "yellow", "drifted": "red", "failed": "bold red"}
_HELP = "m measure   c calibrate   r roll back   q quit"
_ASK = "roll back to the factors before? y for yes, any other key for no"


class LiveView:
    """Draws what is seen on the terminal, and does what keys say.

    Args:
        watching: the board, which keys have do something.
    """

    def __init__(self, watching: Watching) -> None:
        """Take the terminal."""
        self._watching = watching
        self._courses: dict[str, deque[float]] = {}
        self._measured: object = None
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._message, self._asking = _HELP, False
        self._snapshot: Snapshot | None = None
        self._before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._live = Live(auto_refresh=False, screen=True)
        self._live.start()

    def take(self, snapshot: Snapshot) -> None:
        """See `Sink.take`."""
        self._snapshot = snapshot
        if snapshot.board.get("measured_s") != self._measured:
            self._measured = snapshot.board.get("measured_s")
            for layer in snapshot.layers:
                course = self._courses.setdefault(str(layer["name"]), deque(maxlen=COURSE))
                course.append(float(layer["error"]))
        self._keys()
        self._draw()

    def event(self, event: Mapping[str, Any]) -> None:
        """See `Sink.event`."""
        moment = time.strftime("%H:%M:%S")
        rest = ", ".join(f"{name} {value}" for name, value in event.items() if name != "event")
        self._events.append(f"{moment} {event.get('event')}: {rest}")
        if not self._asking:
            self._message = _HELP  # what had begun is done

    def lost(self, sentence: str) -> None:
        """See `Sink.lost`."""
        self._message = f"waiting: {sentence}"
        self._keys()
        self._draw()
        self._message = _HELP

    def close(self) -> None:
        """Give the terminal back."""
        self._live.stop()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def _keys(self) -> None:
        """Do what was typed since the last look."""
        while select.select([sys.stdin], [], [], 0)[0]:
            key = sys.stdin.read(1)
            if not key or key == "q":
                raise SystemExit(0)
            if self._asking:
                self._asking, self._message = False, _HELP
                if key == "y":
                    self._do(Npp.ROLLBACK)
            elif key == "r":
                self._asking, self._message = True, _ASK
            elif key in {"m", "c"}:
                self._do(Npp.MEASURE if key == "m" else Npp.CALIBRATE)

    def _do(self, command: Npp) -> None:
        try:
            self._watching.remote().write(command, {}, guarded=command is not Npp.MEASURE)
        except LinkError as error:
            self._message = str(error)
        else:
            self._message = f"{command.name.lower()} has begun; {_HELP}"

    def _draw(self) -> None:
        if self._snapshot is not None:
            shown = screen(self._snapshot, self._courses, self._events, self._message)
            self._live.update(shown, refresh=True)


def screen(
    snapshot: Snapshot,
    courses: Mapping[str, Sequence[float]],
    events: Sequence[str],
    message: str,
) -> Group:
    """Everything that is drawn."""
    panels: list[Any] = [_head(snapshot), _layers(snapshot, courses)]
    if events:
        panels.append(Panel("\n".join(map(_plain, events)), title="events"))
    return Group(*panels, Text(_plain(message), style="dim"))


def _head(snapshot: Snapshot) -> Panel:
    board, line = snapshot.board, snapshot.line
    state = _plain(board.get("state"))
    score = board.get("score")
    text = Text()
    text.append(state, style=_COLOURS.get(state, ""))
    text.append(" " if score is None else f", score {score:.3g}")
    text.append(f"   factors {board.get('factors') or 'none'}")
    if board.get("temperature_c") is not None:
        text.append(f"   {board['temperature_c']:.1f} °C")
    text.append(f"   written {board.get('written_bytes') or 0:,} bytes")
    text.append(f"\n{_job(board.get('job'))}   last calibration {_when(board.get('calibrated_s'))}")
    text.append(
        f"   line {1000 * line.round_trip_s:.0f} ms, {line.repeats} repeats, {line.broken} broken"
    )
    return Panel(text, title=_plain(f"{board.get('model')} on {board.get('chip')}"))


def _layers(snapshot: Snapshot, courses: Mapping[str, Sequence[float]]) -> Table:
    table = Table(expand=True)
    for name in ("layer", "error", "", "course", "calibrated", "SQNR dB", "rank"):
        table.add_column(name, justify="left" if name in {"layer", "", "course"} else "right")
    for layer in snapshot.layers:
        name, error, baseline = str(layer["name"]), float(layer["error"]), layer.get("baseline")
        colour = _COLOURS[_state_of(error, baseline)] if baseline else "cyan"
        table.add_row(
            _plain(name),
            f"{error:.4f}",
            Text("█" * round(_BAR * min(error, 1.0)) or "▏", style=colour),
            sparkline(courses.get(name, ())),
            "-" if baseline is None else f"{baseline:.4f}",
            f"{float(layer['sqnr_db']):.1f}",
            str(layer["rank"]),
        )
    return table


def _state_of(error: float, baseline: float) -> str:
    """The colour of a layer: the limits are those of the whole board's score."""
    from agent.drift import drift  # noqa: PLC0415  # beside its only use

    return drift(error, baseline).state


def sparkline(values: Sequence[float]) -> str:
    """A course in one line of blocks; the highest is the largest value, the lowest zero."""
    top = max(values, default=0.0)
    if not top > 0:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[min(int(8 * value / top), 7)] for value in values)


def _job(job: object) -> str:
    if not isinstance(job, Mapping):
        return "idle"
    done, total = job.get("done") or 0, job.get("total") or 0
    if job.get("state") != "running":
        return f"{job.get('kind')} {job.get('state')}"
    return f"{job.get('kind')} {100 * done // total if total else 0} %"


def _when(unix_s: object) -> str:
    if not isinstance(unix_s, int | float):
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(unix_s))


def _plain(text: object) -> str:
    """What came over a line must not steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text))
