"""Where inputs come from: files that are complete, pipes, plugins, and what is none of these."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import InputError
from agent.service.directory_source import DirectorySource
from agent.service.plugin_source import IteratorSource, plugin_source
from agent.service.settings import DirectorySettings
from agent.service.sources import EndOfSource, Frame, NoSource, Source, StreamSource, open_source

WAIT_S = 60.0
QUICK = DirectorySettings(poll_s=0.01, settle_s=0.05)


def all_of(source: Source) -> list[Frame]:
    """Every input until the source ends, each answered at once."""
    found: list[Frame] = []
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        try:
            frame = source.next(0.05)
        except EndOfSource:
            return found
        if frame is not None:
            found.append(frame)
            source.answered(frame)
    raise AssertionError("the source does not end")


def next_of(source: Source) -> Frame:
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        if (frame := source.next(0.05)) is not None:
            source.answered(frame)
            return frame
    raise AssertionError("no input came")


def put(folder: Path, name: str, x: Any) -> None:
    """A file as a careful writer makes it: elsewhere, then renamed into place."""
    temporary = folder / f".{name}"
    with temporary.open("wb") as file:
        np.savez(file, x=x) if name.endswith(".npz") else np.save(file, x)
    temporary.rename(folder / name)


def npy(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def named(frames: list[Frame]) -> list[str]:
    return [frame.name for frame in frames]


@pytest.mark.parametrize("after", ["keep", "delete"])
def test_each_file_is_taken_once_and_bad_ones_are_said(tmp_path: Path, after: str) -> None:
    for number, name in enumerate(("b.npy", "a.npz", "c.npy")):
        put(tmp_path, name, np.full((2, 3), number, np.float32))
        os.utime(tmp_path / name, ns=(number, number))
    (tmp_path / "bad.npy").write_bytes(b"junk")
    (tmp_path / "empty.npz").touch()
    (tmp_path / ".hidden.npy").write_bytes(b"junk")
    (tmp_path / "notes.txt").write_bytes(b"junk")
    settings = DirectorySettings(poll_s=0.01, settle_s=0.0, after=after)
    found = all_of(DirectorySource(tmp_path, settings, once=True))
    assert named(found)[:3] == ["b.npy", "a.npz", "c.npy"]  # oldest first
    assert sorted(named(found)[3:]) == ["bad.npy", "empty.npz"]
    for frame in found[:3]:
        assert frame.x is not None
        assert frame.x.shape == (2, 3)
    for frame in found[3:]:
        assert frame.x is None
        assert frame.problem is not None
        assert frame.name in frame.problem
    left = {path.name for path in tmp_path.iterdir()}
    gone = {"a.npz", "b.npy", "c.npy"} if after == "delete" else set()
    kept = {"bad.npy", "empty.npz", ".hidden.npy", "notes.txt", "a.npz", "b.npy", "c.npy"} - gone
    assert left == kept


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    now = [0.0]
    settings = DirectorySettings(poll_s=0.01, settle_s=1.0)
    source = DirectorySource(tmp_path, settings, clock=lambda: now[0])
    whole = np.arange(300, dtype=np.float32)
    content = npy(whole)
    with (tmp_path / "slow.npy").open("wb", buffering=0) as file:
        for begin in range(0, len(content), 100):
            file.write(content[begin : begin + 100])
            now[0] += 0.9
            assert source.next(0.0) is None
    now[0] += 1.0
    frame = source.next(0.0)
    assert frame is not None
    assert (frame.name, frame.problem) == ("slow.npy", None)
    np.testing.assert_array_equal(frame.x, whole)
    now[0] += 5.0
    assert source.next(0.0) is None


def test_a_file_that_is_replaced_is_a_new_one(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path, QUICK)
    for value in (1.0, 2.0, 3.0):
        put(tmp_path, "same.npy", np.full(4, value))
        frame = next_of(source)
        assert frame.x is not None
        assert frame.x[0] == value


def test_several_arrays_in_a_file_and_its_deletion_after_the_last(tmp_path: Path) -> None:
    with (tmp_path / "two.npy").open("wb") as file:
        np.save(file, np.zeros(2))
        np.save(file, np.ones(2))
    settings = DirectorySettings(poll_s=0.01, settle_s=0.0, after="delete")
    source = DirectorySource(tmp_path, settings)
    first = source.next(1.0)
    assert first is not None
    source.answered(first)
    assert (tmp_path / "two.npy").exists()
    second = source.next(1.0)
    assert second is not None
    source.answered(second)
    assert not (tmp_path / "two.npy").exists()


def test_a_directory_that_goes_away(tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    source = DirectorySource(folder, DirectorySettings(poll_s=0.01))
    assert source.next(0.0) is None
    folder.rmdir()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        next_of(source)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)


def test_a_pipe_gives_what_has_arrived_and_ends_with_its_writer(pipe: tuple[int, int]) -> None:
    source = StreamSource(pipe[0])
    assert source.next(0.0) is None

    def write() -> None:
        with os.fdopen(pipe[1], "wb") as file:
            for number in range(50):
                file.write(npy(np.full((3, 40, 40), number)))

    writing = threading.Thread(target=write)
    writing.start()
    found = all_of(source)
    writing.join()
    assert named(found) == [str(number) for number in range(1, 51)]
    assert [int(frame.x[0, 0, 0]) for frame in found if frame.x is not None] == list(range(50))
    with pytest.raises(EndOfSource):
        source.next(0.0)


def test_junk_in_a_pipe_ends_it_after_what_came_before(pipe: tuple[int, int]) -> None:
    source = StreamSource(pipe[0], "the pipe")
    with os.fdopen(pipe[1], "wb") as file:
        file.write(npy(np.zeros(3)))
        file.write(b"what is this, then?")
    assert next_of(source).name == "1"
    with pytest.raises(InputError, match="the pipe: array 2 does not begin as one"):
        all_of(source)


def test_an_iterator_and_its_names() -> None:
    items: list[Any] = [np.zeros(2), ("left", [1, 2]), np.ones((3, 2))]
    found = all_of(IteratorSource("ours", iter(items)))
    assert named(found) == ["1", "left", "3"]
    assert [frame.x.shape for frame in found if frame.x is not None] == [(2,), (2,), (3, 2)]


def test_an_iterator_that_fails_ends_after_what_it_gave() -> None:
    def failing() -> Iterator[Any]:
        yield np.zeros(2)
        raise ValueError("the camera fell off")

    source = IteratorSource("ours", failing())
    assert next_of(source).name == "1"
    with pytest.raises(InputError, match="the source ours raised ValueError: the camera fell off"):
        all_of(source)


def test_an_iterator_that_waits_stops_nothing() -> None:
    stop = threading.Event()

    def waiting() -> Iterator[Any]:
        stop.wait(WAIT_S)
        yield from ()

    source = IteratorSource("ours", waiting())
    assert source.next(0.01) is None
    source.close()
    stop.set()


def test_names_of_sources(tmp_path: Path) -> None:
    settings = DirectorySettings()
    assert isinstance(open_source("none", settings), NoSource)
    assert isinstance(open_source("-", settings), StreamSource)
    assert isinstance(open_source(str(tmp_path), settings), DirectorySource)
    with pytest.raises(InputError, match="no directory; make it first"):
        open_source(str(tmp_path / "nothing"), settings)
    with pytest.raises(InputError, match="no plugin offers a source of that name"):
        plugin_source("no-such-source")
    assert NoSource().next(0.0) is None
