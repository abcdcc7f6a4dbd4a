"""Everything that works on a store in a directory works on an image, through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.agent_stores import bundle, data, npp

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    bundle(folder / "small.npp")
    data(folder / "data.npz")
    return folder


def life(capsys: Capture, files: Path, store: Path) -> list[dict[str, Any]]:
    """What every command says of one life of a store, but for places, times and sizes."""
    where = ("--store", store, "--json")
    said = [
        npp(capsys, "install", files / "small.npp", "--chip", "mismatch-30", *where),
        npp(capsys, "measure", *where),
        npp(capsys, "calibrate", "--rank", 2, *where),
        npp(capsys, "calibrate", "--temperature-c", 40, *where),
        npp(capsys, "evaluate", "--data", files / "data.npz", *where),
        npp(capsys, "status", *where),
        npp(capsys, "history", *where),
        npp(capsys, "rollback", *where),
        npp(capsys, "evaluate", "--data", files / "data.npz", *where),
        npp(capsys, "fsck", *where),
    ]
    assert [one.code for one in said] == [0] * len(said), [one.err for one in said]
    return [without(one.document) for one in said]


VARYING = {"store", "seconds", "time_s", "bytes_used", "bytes_written", "other_bytes_written"}


def without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without(inner) for key, inner in value.items() if key not in VARYING}
    return [without(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("options", [(), ("--nor",), ("--nor", "--block-kib", 16, "--slots", 6)])
def test_an_image_lives_as_a_directory_does(
    files: Path, tmp_path: Path, capsys: Capture, options: tuple[object, ...]
) -> None:
    image = tmp_path / "image"
    made = npp(capsys, "format-store", image, "--size-kib", 1024, *options, "--json").document
    assert made["bytes"] == image.stat().st_size == 2**20
    in_image = life(capsys, files, image)
    in_directory = life(capsys, files, tmp_path / "directory")
    assert in_image[:-1] == in_directory[:-1]
    assert npp(capsys, "uninstall", "--store", image).code == 0
    assert "no bundle is installed" in npp(capsys, "status", "--store", image).sentence()
    assert life(capsys, files, image)[:2] == in_directory[:2], "an emptied image is used again"


def test_formatting_says_what_it_needs(tmp_path: Path, capsys: Capture) -> None:
    assert npp(capsys, "format-store", tmp_path / "new").code == 2
    small = npp(capsys, "format-store", tmp_path / "new", "--size-kib", 64)
    assert "too few for this store" in small.sentence()
    assert not (tmp_path / "new").exists()
    assert npp(capsys, "format-store", tmp_path / "new", "--size-kib", 256).code == 0
    again = npp(capsys, "format-store", tmp_path / "new")
    assert "holds a store already, and formatting would destroy it" in again.sentence()
    assert npp(capsys, "format-store", tmp_path / "new", "--force", "--nor").code == 0


def test_a_bundle_too_large_for_the_image_is_refused_before_anything_is_written(
    files: Path, tmp_path: Path, capsys: Capture
) -> None:
    image = tmp_path / "image"
    options = ("--size-kib", 256, "--bundle-kib", 8)
    assert npp(capsys, "format-store", image, *options).code == 0
    before = image.read_bytes()
    said = npp(capsys, "install", files / "small.npp", "--store", image)
    assert "format a larger image" in said.sentence()
    assert image.read_bytes() == before
