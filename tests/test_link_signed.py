"""Bundles that come over a link: who vouches for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import BundleError
from agent.link.board import Activate
from agent.link.store_board import StoreBoard
from agent.store.store import Store
from calib.importers.onnx_export import write_onnx
from tests.agent_stores import GRAPH, data, npp
from tests.test_signatures import SECRET, write_keys

Capture = pytest.CaptureFixture[str]


def packed(folder: Path, name: str, capsys: Capture, *options: object) -> Path:
    write_onnx(GRAPH, folder / "model.onnx")
    out = folder / name
    samples = data(folder / "data.npz")
    said = npp(capsys, "pack", folder / "model.onnx", "--samples", samples, "--out", out, *options)
    assert said.code == 0
    return out


def activate(store: Path, bundle: Path, *, allow_unsigned: bool = False) -> object:
    board = StoreBoard(Store(store), allow_unsigned=allow_unsigned)
    request = Activate(bundle.name, bundle.read_bytes())
    return board.activate(request, lambda _done, _total: None, lambda _sentence: None).document


def test_without_a_key_nothing_comes_over_a_link_unless_the_agent_was_told_so(
    tmp_path: Path, capsys: Capture
) -> None:
    first = packed(tmp_path, "first.npp", capsys)
    second = packed(tmp_path, "second.npp", capsys, "--seed", 1)
    store = tmp_path / "store"
    assert npp(capsys, "install", first, "--store", store).code == 0
    before = Store(store).state().bundle_id
    with pytest.raises(BundleError, match="this board knows no key"):
        activate(store, second)
    assert Store(store).state().bundle_id == before
    assert activate(store, second, allow_unsigned=True)["trust"] is None  # type: ignore[index]  # a document
    assert Store(store).state().bundle_id != before


def test_a_board_with_a_key_takes_what_is_signed_and_nothing_else_whatever_it_was_told(
    tmp_path: Path, capsys: Capture
) -> None:
    private, public = write_keys(tmp_path, "ours", SECRET)
    sign = ("--sign", private, "--version-number")
    first = packed(tmp_path, "first.npp", capsys, *sign, 1)
    second = packed(tmp_path, "second.npp", capsys, "--seed", 1, *sign, 2)
    unsigned = packed(tmp_path, "unsigned.npp", capsys, "--seed", 2)
    store = tmp_path / "store"
    assert npp(capsys, "install", first, "--trust", public, "--store", store).code == 0
    for allowed in (False, True):
        with pytest.raises(BundleError, match="is not signed, and this store takes only"):
            activate(store, unsigned, allow_unsigned=allowed)
    assert activate(store, second)["trust"]["version"] == 2  # type: ignore[index]  # a document
    with pytest.raises(BundleError, match="has version 1, and version 2 was installed here"):
        activate(store, first)
