"""Tables, units and progress bars: what a reader sees."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.progress import bar_text, progress, track
from agent.cli.table import WIDTH, pairs, shorten, table
from agent.cli.units import bytes_text, seconds_text, time_text

cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=150)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_table_is_a_heading_a_rule_and_rows() -> None:
    rows = [["conv", 0.123456, 8], ["a longer name", None, 12]]
    assert table(["layer", "error", "rank"], rows) == (
        "layer           error  rank\n"
        "-------------  ------  ----\n"
        "conv           0.1235     8\n"
        "a longer name       -    12"
    )


def test_a_table_without_rows_still_says_what_it_would_hold() -> None:
    assert table(["layer", "rank"], []) == "layer  rank\n-----  ----"


@given(st.lists(st.tuples(cells, cells, cells, cells), max_size=6))
def test_a_table_fits(rows: list[tuple[str, ...]]) -> None:
    lines = table(["one", "two", "three", "a heading of more words than fit in"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(len(line) <= WIDTH for line in lines)


@given(st.lists(st.tuples(st.text(max_size=20), cells), max_size=6))
def test_pairs_fit(items: list[tuple[str, object]]) -> None:
    assert all(len(line) <= WIDTH for line in pairs(items).split("\n"))


@given(st.text(max_size=60), st.integers(0, 60))
def test_a_shortened_name_keeps_its_ends(name: str, width: int) -> None:
    short = shorten(name, width)
    assert len(short) == min(len(name), width)
    if 4 <= width < len(name):
        assert short[0] == name[0]
        assert short[-1] == name[-1]


def test_a_name_out_of_a_file_cannot_steer_the_terminal() -> None:
    shown = table(["layer"], [["\x1b[2Jconv\nnext\r"]])
    assert shown.split("\n")[2:] == ["?[2Jconv?next?"]


def test_values_are_written_for_readers() -> None:
    shown = pairs([("a", True), ("b", math.nan), ("c", 123456.789), ("d", 1e-7), ("e", 3)])
    assert shown == "a  yes\nb  -\nc  123457\nd  1e-07\ne  3"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (262_144, "256 KiB"),
        (1_500_000, "1.4 MiB"),
        (25_276_502_016, "23.5 GiB"),
        (2**43, "8.0 TiB"),
    ],
)
def test_bytes(count: int, said: str) -> None:
    assert bytes_text(count) == said


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [
        (0.0123, "0.0123 s"),
        (3.21, "3.21 s"),
        (59.99, "60 s"),
        (60, "1 min"),
        (250, "4 min 10 s"),
        (7_500, "2 h 5 min"),
        (2_692_800, "31 d 4 h"),
    ],
)
def test_durations(duration_s: float, said: str) -> None:
    assert seconds_text(duration_s) == said


def test_moments() -> None:
    assert time_text(0) == "1970-01-01 00:00:00Z"
    assert time_text(None) is None


def test_progress_draws_only_after_two_seconds_and_leaves_a_clean_line() -> None:
    terminal, clock = Terminal(), Clock()
    with progress("measuring", terminal, clock) as report:
        clock.now_s = 1.9
        report(1, 4)
        assert terminal.getvalue() == ""
        clock.now_s = 3.0
        report(2, 4)
    drawn = terminal.getvalue()
    assert "measuring [###############...............]  50%, 3 s left" in drawn
    assert drawn.endswith("\r")
    assert drawn.split("\r")[-2].strip() == ""


def test_a_short_job_draws_nothing_at_all() -> None:
    terminal, clock = Terminal(), Clock()
    with progress("measuring", terminal, clock) as report:
        assert list(track("abc", 3, report)) == ["a", "b", "c"]
    assert terminal.getvalue() == ""


def test_nothing_is_drawn_where_there_is_no_terminal() -> None:
    file, clock = io.StringIO(), Clock()
    with progress("measuring", file, clock) as report:
        clock.now_s = 10.0
        report(1, 2)
    assert file.getvalue() == ""


def test_the_line_is_cleaned_when_the_job_fails() -> None:
    terminal, clock = Terminal(), Clock()

    def fail() -> None:
        with progress("measuring", terminal, clock) as report:
            clock.now_s = 3.0
            report(1, 2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert terminal.getvalue().split("\r")[-2].strip() == ""


@given(st.integers(-5, 50), st.integers(-5, 40), st.floats(0, 1e6))
def test_a_bar_is_never_longer_than_its_line(done: int, total: int, elapsed_s: float) -> None:
    assert len(bar_text("solving", done, total, elapsed_s)) < WIDTH
