"""The bundle: same content, same bytes; anything else than a bundle is one clear sentence."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agent.errors import BundleError, StoreError
from agent.store.bundle import Bundle, bundle_bytes, open_bundle, write_bundle
from agent.store.manifest import ITEM_BYTES, MAX_PARTS
from tests.fake_disks import FailingDisk

ARRAYS = {"scales": np.array([0.5, 2.0], np.float32), "codes/0": np.arange(6, dtype=np.int8)}
DOCUMENT = {"model": "tiny", "läyers": [1, 2.5, None]}
TINY = bundle_bytes(DOCUMENT, ARRAYS, {"model.onnx": b"\x08\x07"})
TINY_ID = "7a49624ed8bd6b6c9175a5135dc6a55eb9adac3b5c3561316a413270d7a1835f"
TINY_SHA256 = "f16f185d8af576b84527fbb981a0b4527fcb1c9dea5f7223f8839b6fd4a992b5"
GOLDEN = bytes.fromhex(
    "504b030414000000000000002100fad68c0ea5000000a50000000d0000006d616e69666573742e6a736f6e7b"
    "22646f63756d656e74223a7b2261223a317d2c22666f726d6174223a312c227061727473223a7b22772e6e70"
    "79223a7b226279746573223a3133302c226474797065223a227c6931222c22736861323536223a2261383634"
    "6133316436626561613131366430386438343839333332336138656338633030373832323264326135383335"
    "66373532333232326134343137353037222c227368617065223a5b325d7d7d7d504b03041400000000000000"
    "21006fabf465820000008200000005000000772e6e7079934e554d5059010076007b276465736372273a2027"
    "7c6931272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c292c"
    "207d202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020200a01ff504b0102140314000000000000002100fad68c0ea50000"
    "00a50000000d0000000000000000000000a481000000006d616e69666573742e6a736f6e504b010214031400"
    "00000000000021006fabf4658200000082000000050000000000000000000000a481d0000000772e6e707950"
    "4b050600000000020002006e000000750100000000"
)


def content(bundle: Bundle) -> tuple[Any, ...]:
    arrays = {
        n: bundle.array(n.removesuffix(".npy")).tolist() for n, p in bundle.parts.items() if p.dtype
    }
    files = {n: bundle.file(n) for n, p in bundle.parts.items() if not p.dtype}
    return bundle.id, bundle.document, bundle.parts, arrays, files


def zipped(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def described(data: bytes, **more: Any) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **more}


def with_part(name: str, data: bytes, **more: Any) -> bytes:
    """A bundle of one part that is rightly described but for what `more` says."""
    manifest = {"format": 1, "document": {}, "parts": {name: described(data, **more)}}
    return zipped([("manifest.json", json.dumps(manifest).encode()), (name, data)])


def with_manifest(**changes: Any) -> bytes:
    manifest = {"format": 1, "document": {}, "parts": {}, **changes}
    return zipped([("manifest.json", json.dumps(manifest).encode())])


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=allow_pickle)
    return file.getvalue()


def test_a_tiny_bundle_has_these_bytes() -> None:
    smallest = bundle_bytes({"a": 1}, {"w": np.array([1, -1], np.int8)}, {})
    assert smallest == GOLDEN
    assert content(open_bundle(GOLDEN))[1:] == (
        {"a": 1},
        open_bundle(GOLDEN).parts,
        {"w.npy": [1, -1]},
        {},
    )
    assert (hashlib.sha256(TINY).hexdigest(), open_bundle(TINY).id) == (TINY_SHA256, TINY_ID)


def test_the_order_of_what_is_given_does_not_matter() -> None:
    turned = bundle_bytes(
        dict(reversed(DOCUMENT.items())),
        dict(reversed(ARRAYS.items())),
        {"model.onnx": b"\x08\x07"},
    )
    assert turned == TINY


def test_the_id_is_the_hash_of_the_manifest_and_names_all_content() -> None:
    with zipfile.ZipFile(io.BytesIO(TINY)) as archive:
        assert open_bundle(TINY).id == hashlib.sha256(archive.read("manifest.json")).hexdigest()
    other = bundle_bytes(
        DOCUMENT, {**ARRAYS, "scales": np.float32([0.5, 2.1])}, {"model.onnx": b"\x08\x07"}
    )
    assert open_bundle(other).id != open_bundle(TINY).id


@given(
    st.sampled_from(sorted(ITEM_BYTES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
    )
)
def test_every_array_comes_back_as_it_went_in(array: np.ndarray[Any, Any]) -> None:
    found = open_bundle(bundle_bytes({}, {"a": array}, {})).array("a")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


def test_strided_and_foreign_endian_arrays_are_written_plainly() -> None:
    base = np.arange(24, dtype=">f4").reshape(4, 6)
    for view in (base.T, base[::2, ::-1], np.asfortranarray(base)):
        found = open_bundle(bundle_bytes({}, {"a": view}, {})).array("a")
        assert found.dtype == np.dtype("<f4")
        np.testing.assert_array_equal(found, view)


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "demo.npp"
    assert write_bundle(path, DOCUMENT, ARRAYS, {"model.onnx": b"\x08\x07"}) == len(TINY)
    assert path.read_bytes() == TINY
    assert content(open_bundle(path)) == content(open_bundle(TINY))
    assert [p.name for p in tmp_path.iterdir()] == ["demo.npp"]


def test_a_full_disk_keeps_the_old_bundle(tmp_path: Path) -> None:
    path = tmp_path / "demo.npp"
    path.write_bytes(b"old")
    with pytest.raises(StoreError, match=r"cannot write .*demo\.npp: the disk is full"):
        write_bundle(path, {}, ARRAYS, {}, FailingDisk(2, 28))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["demo.npp"]


@pytest.mark.parametrize(
    ("document", "arrays", "files", "sentence"),
    [
        ({"x": float("nan")}, {}, {}, "JSON"),
        ({"x": {1, 2}}, {}, {}, "not JSON serializable"),
        ({}, {"a": np.array([object()])}, {}, "array 'a' cannot be put into a bundle"),
        ({}, {"a": np.array(["text"])}, {}, "array a.npy has type '<U4'"),
        ({}, {"a": np.zeros(2, [("f", "i4")])}, {}, r"type '\|V4'"),
        ({}, {"a": np.zeros(2, np.complex64)}, {}, "type '<c8'"),
        ({}, {"../a": np.zeros(2)}, {}, "name '../a.npy' is not allowed"),
        ({}, {}, {"/etc/passwd": b""}, "not allowed"),
        ({}, {}, {"manifest.json": b""}, "not allowed"),
        ({}, {}, {"a" * 300: b""}, "not allowed"),
        ({}, {"a": np.zeros(2)}, {"a.npy": b""}, "both as an array and as a file"),
    ],
)
def test_what_cannot_be_read_is_not_written(
    document: dict[str, Any], arrays: dict[str, Any], files: dict[str, bytes], sentence: str
) -> None:
    with pytest.raises(BundleError, match=sentence):
        bundle_bytes(document, arrays, files)


@pytest.mark.parametrize("name", ["", "a", "w"])
def test_asking_for_what_is_not_there_names_it(name: str) -> None:
    bundle = open_bundle(TINY, name="tiny.npp")
    with pytest.raises(BundleError, match=f"tiny.npp has no array '{name}'"):
        bundle.array(name)
    with pytest.raises(BundleError, match=f"tiny.npp has no file '{name}'"):
        bundle.file(name)


def test_a_file_is_no_array() -> None:
    with pytest.raises(BundleError, match="not described as an array"):
        open_bundle(bundle_bytes({}, {}, {"x.npy": b"abc"})).array("x")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"\x08\x07\x12\x04onnx", "is no bundle; 'npp-agent pack' makes one"),
        (TINY[:-10], r"is truncated \(only its first \d+ bytes"),
        (TINY[:100], "is truncated"),
        (zipped([("word/document.xml", b"<x/>")]), "no manifest.json"),
        (zipped([("manifest.json", b"{")]), "no JSON text"),
        (zipped([("manifest.json", b"\xff\xfe")]), "no JSON text"),
        (zipped([("manifest.json", b"[" * 100_000)]), "nested too deeply"),
        (zipped([("manifest.json", b"[]")]), "no format number"),
        (with_manifest(format=2), "has format 2, this npp-agent reads 1"),
        (with_manifest(parts=[]), "lacks the document or the parts"),
        (with_manifest(parts={"a": {}}), "no SHA-256 for part a"),
        (with_manifest(parts={"a": {"sha256": "0" * 64, "bytes": -1}}), "no size for part a"),
        (
            with_manifest(parts={"a": {"sha256": "0" * 64, "bytes": 0}}),
            "a' is only in the manifest",
        ),
        (with_manifest(parts={"../a": described(b"")}), "'../a' is not allowed"),
        (with_manifest(parts={"/a": described(b"")}), "not allowed"),
        (
            with_manifest(parts={f"p{i}": described(b"") for i in range(MAX_PARTS + 1)}),
            "4097 parts",
        ),
        (zipped([("manifest.json", b"{}"), ("a", b"")]), "no format number"),
        (with_part("a", b"12", bytes=3), "part a has 2 bytes, the manifest says 3"),
        (with_part("a", b"12", sha256="0" * 64), "part a does not have the SHA-256"),
        (with_part("a.npy", b"12", dtype="|O", shape=[1]), r"type '\|O'"),
        (with_part("a.npy", b"12", dtype="<f4", shape=[2**40]), "impossible shape"),
        (with_part("a.npy", b"12", dtype="<f4", shape=[2**30, 2**30]), "does not fit its 2 bytes"),
        (with_part("a.npy", b"12", dtype="<f4", shape=[0] * 9), "impossible shape"),
        (with_part("a.npy", b"12", dtype="<f4", shape=[True]), "impossible shape"),
        (with_part("a.npy", b"12", dtype="<f4"), "impossible shape"),
    ],
)
def test_what_is_no_bundle_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence) as caught:
        open_bundle(data, name="demo.npp")
    assert str(caught.value).startswith("demo.npp ")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_parts_of_one_name_are_refused() -> None:
    manifest = json.dumps({"format": 1, "document": {}, "parts": {"a": described(b"1")}}).encode()
    with pytest.raises(BundleError, match="two parts of the same name"):
        open_bundle(zipped([("manifest.json", manifest), ("a", b"1"), ("a", b"2")]))


def test_compressed_parts_are_refused_without_unpacking_them() -> None:
    bomb = zipped([("manifest.json", b" " * 50_000_000)], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"'manifest\.json' is compressed"):
        open_bundle(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_a_size_beyond_the_file_is_refused_without_allocating_it() -> None:
    honest = bytearray(zipped([("manifest.json", b"{}")]))
    directory = honest.index(b"PK\x01\x02")
    for place in (directory + 20, directory + 24):  # compressed and uncompressed size
        honest[place : place + 4] = (0x7FFFFFFF).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(BundleError, match=r"'manifest\.json' is not where the archive says"):
        open_bundle(bytes(honest))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


class Harmful:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return sys.exit, ("a pickle was loaded",)


@pytest.mark.parametrize("dtype", ["|O", "<f8", "|i1"])
def test_a_pickled_array_is_refused_and_never_loaded(dtype: str) -> None:
    data = npy(np.array([Harmful()]), allow_pickle=True)
    with pytest.raises(SystemExit):
        np.load(io.BytesIO(data), allow_pickle=True)
    with pytest.raises(BundleError):
        open_bundle(with_part("a.npy", data, dtype=dtype, shape=[1])).array("a")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (npy(np.zeros(3, np.float32)), r"holds <f4 \[3\] .* manifest says <f4 \[2\]"),
        (npy(np.zeros(2, np.int32)), r"holds <i4 \[2\]"),
        (npy(np.zeros(2, ">f4")), r"holds >f4 \[2\]"),
        (npy(np.zeros(2, np.float32)) + b"more", "12 bytes of values, its shape needs 8"),
        (npy(np.zeros(2, np.float32))[:-1], "7 bytes of values, its shape needs 8"),
        (b"\x93NUMPY\x02\x00\x10\x00\x00\x00{}", "version"),
        (b"\x93NUMPY\x01\x00\xff\xff{'descr': " + b"(" * 9000, "damaged"),
        (b"\x93NUMPY\x01\x00\x08\x00{'a': 1}", "damaged"),
        (pickle.dumps([1, 2, 3, 4, 5, 6, 7, 8]), "damaged"),
    ],
)
def test_a_part_that_is_another_array_than_described_is_refused(data: bytes, sentence: str) -> None:
    bundle = open_bundle(with_part("a.npy", data, dtype="<f4", shape=[2]))
    with pytest.raises(BundleError, match=sentence):
        bundle.array("a")


def test_fortran_order_is_refused() -> None:
    data = npy(np.asfortranarray(np.zeros((2, 3), np.float32)))
    with pytest.raises(BundleError, match="in Fortran order"):
        open_bundle(with_part("a.npy", data, dtype="<f4", shape=[2, 3])).array("a")


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle"):
        open_bundle(tmp_path / "absent.npp")
    with pytest.raises(BundleError, match="there is a directory of that name"):
        open_bundle(tmp_path)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.npp"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match="1099511627776 bytes, more than the 268435456"):
        open_bundle(path)


def test_every_truncation_is_noticed() -> None:
    for size in range(len(TINY)):
        with pytest.raises(BundleError):
            open_bundle(TINY[:size])


@given(st.lists(st.integers(0, len(TINY) * 8 - 1), min_size=1, max_size=3))
def test_any_flipped_bits_are_noticed_or_change_nothing(bits: list[int]) -> None:
    assert_refused_or_same(bits)


@pytest.mark.slow
def test_every_single_flipped_bit_is_noticed_or_changes_nothing() -> None:
    for bit in range(len(TINY) * 8):
        assert_refused_or_same([bit])


def assert_refused_or_same(bits: list[int]) -> None:
    damaged = bytearray(TINY)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    try:
        found = content(open_bundle(bytes(damaged)))
    except BundleError:
        return
    assert found == content(open_bundle(TINY))


def test_a_part_damaged_since_it_was_opened_unverified_is_noticed_when_read() -> None:
    damaged = TINY.replace(b"\x08\x07", b"\x08\x06")
    with pytest.raises(BundleError, match=r"part model\.onnx does not have the SHA-256"):
        open_bundle(damaged)
    bundle = open_bundle(damaged, verify=False)
    assert bundle.array("scales").tolist() == [0.5, 2.0]
    with pytest.raises(BundleError, match=r"part model\.onnx does not have the SHA-256"):
        bundle.file("model.onnx")


def test_the_store_and_a_bundle_open_without_numpy(tmp_path: Path) -> None:
    path = tmp_path / "tiny.npp"
    path.write_bytes(TINY)
    program = (
        "import sys; from pathlib import Path; import agent.store.store, agent.store.status; "
        "from agent.store.bundle import open_bundle; "
        "assert 'zipfile' in sys.modules; "
        f"bundle = open_bundle(Path({str(path)!r})); "
        "sys.exit('numpy was imported' if 'numpy' in sys.modules else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
