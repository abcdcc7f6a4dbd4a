"""The one place that makes bytes durable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import (
    StoreError,
)
from agent.store.disk import SYSTEM_DISK
from agent.store.durable import make_directories, read_file, replace_file


def test_a_file_is_replaced_from_chunks(tmp_path: Path) -> None:
    assert replace_file(tmp_path / "a", (b"x" * n for n in range(5))) == 10
    assert replace_file(tmp_path / "a", b"short") == 5
    assert read_file(tmp_path / "a", 5) == b"short"
    assert read_file(tmp_path / "b", 5) is None
    with pytest.raises(StoreError, match="has 5 bytes, more than the 4"):
        read_file(tmp_path / "a", 4)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("absent/file", "the directory does not exist"),
        ("file/file", "a file, not a directory"),
        ("folder", "there is a directory of that name"),
        ("n" * 300, "name is too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, path: str, sentence: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=f"cannot write .*: .*{sentence}"):
        replace_file(tmp_path / path, b"data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_an_interrupted_producer_of_chunks_leaves_the_old_file(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"begin"
        raise KeyboardInterrupt

    replace_file(tmp_path / "a", b"old")
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "a", chunks())
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / ".a.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreError, match="symbolic link"):
        replace_file(tmp_path / "a", b"data")
    assert (tmp_path / "victim").read_text() == "untouched"


def test_directories_are_made_down_to_the_last(tmp_path: Path) -> None:
    make_directories(tmp_path / "a" / "b" / "c", SYSTEM_DISK)
    make_directories(tmp_path / "a" / "b" / "c", SYSTEM_DISK)
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "f").write_text("")
    with pytest.raises(StoreError, match="cannot make the directory"):
        make_directories(tmp_path / "f" / "g", SYSTEM_DISK)
