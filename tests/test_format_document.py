"""docs/format.md says what the code writes: its tables are read and compared with real bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from agent.buffer import BufferedSample, Origin, SampleBuffer
from agent.runtimes import tflite_plan
from agent.runtimes.output_codes import FILE_FORMAT, FILE_NAME, encode_output_codes
from agent.runtimes.tflite_plan import encode_plan
from agent.store import archive, bundle, history, log_ring, manifest, signature, superblock
from agent.store.directory_flash import SLOT_BYTES, DirectoryFlash
from agent.store.disk import SYSTEM_DISK
from agent.store.image import open_image
from agent.store.sealed import seal, unseal
from agent.store.state import STORE_FORMAT
from calib.factor_codes import encode_factors
from calib.factors import Factors, Surrogate
from calib.graph.linear import LinearLayer
from calib.precision import PRECISIONS, bits_of_b
from calib.schemes.activations import ActivationCode
from calib.schemes.channelwise import quantise_layer
from calib.schemes.mixed_bytes import heads_of, mixed_bytes
from tests.plans import plan_of
from tests.store_places import make_place
from tests.store_samples import FIRST, used_store

TEXT = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())


def section(title: str) -> str:
    found = re.search(
        rf"^##+ {re.escape(title)}[^\n]*\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/format.md has no section {title!r}"
    return found.group(1)


def rows(title: str, columns: int) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in section(title).splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) == columns]
    return [line for line in cells if not line[0].startswith("---")]


def fields(title: str) -> dict[str, tuple[int, int]]:
    """Offset and size of each field of fixed size, by name."""
    table = [row for row in rows(title, 4) if row[0].isdigit() and row[1].isdigit()]
    return {name: (int(offset), int(size)) for offset, size, name, _ in table}


def sizes(title: str) -> list[int]:
    """The fixed sizes of a payload's tables, in order."""
    return [int(row[0]) for row in rows(title, 3) if row[0].isdigit()]


def test_the_fields_of_the_headers_follow_each_other_without_gaps() -> None:
    assert fields("Signature")["signature"] == (48, signature.BYTES - 48)
    tables = {
        "Signature": 112,
        "Factor slot": 256,
        "Sample buffer": 52,
        "Superblock": 2172,
        "Log segment": 24,
    }
    for title, end in tables.items():
        place = 0
        for name, (offset, size) in fields(title).items():
            if name != "payload":
                assert offset == place, name
                place += size
        assert place == end


def test_a_slot_holds_what_the_table_says(tmp_path: Path) -> None:
    store = used_store(tmp_path)
    flash, table = DirectoryFlash(tmp_path), fields("Factor slot")
    data = flash.read(1, 0, 256)
    number = {name: int.from_bytes(data[o : o + s], "little") for name, (o, s) in table.items()}
    offset, size = table["bundle id"]
    assert data[offset : offset + size].hex() == FIRST.id
    assert data[:4] == b"NPPF"
    assert (number["version"], number["payload offset"]) == (1, 256)
    assert (number["sequence number"], number["payload length"]) == (2, 3)
    assert number["not used"] == int.from_bytes(b"\xff" * table["not used"][1], "little")
    assert number["retired"] == 0xFFFFFFFF
    store.rollback()
    offset, size = table["retired"]
    assert flash.read(1, offset, size) == bytes(size)


def test_an_image_holds_what_the_tables_say(tmp_path: Path) -> None:
    used_store(make_place("nor", tmp_path / "image"))
    data, table = (tmp_path / "image").read_bytes(), fields("Superblock")
    image = open_image(tmp_path / "image", SYSTEM_DISK)

    def number(name: str, fields: dict[str, tuple[int, int]], begin: int = 0) -> int:
        offset, size = fields[name]
        return int.from_bytes(data[begin + offset : begin + offset + size], "little")

    assert (data[:4], data[4096:4100]) == (superblock.MAGIC, superblock.MAGIC)
    assert number("version", table) == superblock.VERSION
    assert number("memory", table) == superblock.Memory.NOR
    assert number("block bytes", table) == 4096
    assert number("unit bytes", table) == 256
    assert number("size", table) == len(data)
    assert number("units", table) == len(image.superblock.units)
    assert table["table"][0] == superblock.TABLE_OFFSET
    assert table["marks"] == (superblock.MARKS_OFFSET, superblock.MAX_UNITS)
    segments = fields("Log segment")
    unit = next(one for one in image.superblock.units if one.region == superblock.Region.HISTORY)
    begin = unit.first_block * 4096
    assert data[begin : begin + 4] == log_ring.MAGIC
    assert number("number", segments, begin) == 1
    assert number("wear", segments, begin) == 2
    assert unseal(data[begin + 256 : data.index(b"\n", begin) + 1]) is not None
    named = {row[0].split(", ")[1]: row[0].split(",")[0] for row in rows("Image", 3)[1:]}
    assert named == {region.name.lower(): str(region.value) for region in superblock.Region}


def test_the_buffer_holds_what_the_table_says(tmp_path: Path) -> None:
    used_store(tmp_path)
    data, table = (tmp_path / "buffer.bin").read_bytes(), fields("Sample buffer")
    offset, size = table["bundle id"]
    assert data[offset : offset + size].hex() == FIRST.id
    offset, size = table["payload length"]
    assert int.from_bytes(data[offset : offset + size], "little") == len(data) - 52


def test_the_samples_take_the_bytes_of_the_table() -> None:
    buffer = SampleBuffer()
    buffer.offer([BufferedSample(Origin.LIVE, 1, 0.5, 2.0, b"12345")])
    assert len(buffer.to_bytes()) == sum(sizes("Payload: samples")) + 5


def test_the_factors_take_the_bytes_of_the_table() -> None:
    table = [row for row in rows("Payload: factors", 2) if row[0].isdigit()]
    of_b = {int(row[0]): int(row[1]) for row in table}
    assert of_b == {bits: bits_of_b(bits) for bits in PRECISIONS}
    format_row = next(row for row in rows("Payload: factors", 3) if row[1] == "format")
    no_factors = encode_factors(Factors({}), [])
    assert int(format_row[2]) == int.from_bytes(no_factors[:2], "little")
    assert f"### Payload: factors, format {format_row[2]}" in TEXT
    inputs, outputs = LAYER.inputs, LAYER.outputs
    ones, fixed = np.ones(outputs, np.float32), sum(sizes("Payload: factors"))
    for bits in (*((one,) * 3 for one in PRECISIONS), PRECISIONS, ()):
        rank = len(bits)
        a, b = np.ones((rank, inputs), np.float32), np.ones((outputs, rank), np.float32)
        factors = Factors({LAYER.name: Surrogate(ones, ones, a, b, bits)})
        codes = sum(-(-inputs * one // 8) + -(-outputs * of_b[one] // 8) for one in bits)
        expected = fixed + rank + 4 * 2 * rank + 2 * 2 * outputs + codes
        assert len(encode_factors(factors, [LAYER])) == expected, bits


LAYER = LinearLayer(
    "dense",
    "Gemm",
    "x",
    "y",
    weight=np.ones((1, 5, 7), np.float32),
    bias=np.zeros(7, np.float32),
    window=None,
    input_shape=(5,),
    output_shape=(7,),
)


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    assert f"## Bundle (`.npp`), format {manifest.FORMAT}" in TEXT
    assert f"## Store, format {STORE_FORMAT}" in TEXT
    assert f"of at most {bundle.MAX_BUNDLE_BYTES // 2**20} MiB" in WORDS
    assert f"at most {manifest.MAX_MANIFEST_BYTES // 2**20} MiB" in WORDS
    assert f"at most {manifest.MAX_PARTS:,}, none twice" in WORDS
    assert f"has at most {SLOT_BYTES // 2**20} MiB" in WORDS
    assert f"At {history.MAX_ENTRIES:,} lines or {history.MAX_BYTES // 2**20} MiB" in WORDS
    for dtype in manifest.ITEM_BYTES:
        assert dtype in section("Bundle")


def test_the_sealed_line_of_the_example_is_right() -> None:
    line = re.search(r"^    (\{\"crc32.*)$", TEXT, re.MULTILINE)
    assert line is not None
    content = unseal(line.group(1).encode())
    assert content is not None
    assert seal(content).decode() == line.group(1) + "\n"


def test_the_keys_of_manifest_and_state_are_those_of_the_tables(tmp_path: Path) -> None:
    used_store(tmp_path)
    state = unseal((tmp_path / "state.json").read_bytes())
    assert state is not None
    named = {row[0].strip("`") for row in rows("Store", 2)}
    assert set(state) <= named
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".npp"} <= {
        name.strip("` ") for row in rows("Store", 2) for name in row[0].split(",")
    }
    text = bytes(archive.decode(FIRST.data)["manifest.json"]).decode()
    for key in [row[0].strip("`") for row in rows("Bundle", 2)][1:]:
        assert f'"{key}":' in text


def test_the_file_for_onnxruntime_is_as_described() -> None:
    title = "Files for the runtime onnxruntime"
    assert f"`{FILE_NAME}`" in section(title)
    content = json.loads(encode_output_codes({"first": ActivationCode(0.5, 128, 8)}))
    described = {row[0].strip("`"): row[1] for row in rows(title, 2)[1:]}
    assert set(content) == set(described)
    assert str(content["format"]) == described["format"] == str(FILE_FORMAT)
    for key in content["outputs"]["first"]:
        assert f"`{key}`" in described["outputs"]


def test_a_layer_with_levels_takes_the_bytes_of_the_table() -> None:
    """Read by hand, as the table says, and compared with what the code reads."""
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((1, 10, 3)).astype(np.float32)
    inputs = generator.standard_normal((50, 1, 10)).astype(np.float32)
    layer = quantise_layer(weight, inputs, [4, 1, 4, 4, 1], 2)
    data = mixed_bytes(layer)
    assert data[:2] == bytes([0b01010001, 0b00])
    place, values = 2, np.zeros((2, 5, 3))
    for level, head, channels in zip(
        layer.levels, heads_of(layer), ([1, 4], [0, 2, 3]), strict=True
    ):
        count = 2 * len(channels) * 3
        size = -(-count * head.bits // 8)
        bits = np.unpackbits(np.frombuffer(data[place : place + size], np.uint8), bitorder="little")
        worth = [*(2**i for i in range(head.bits - 1)), -(2 ** (head.bits - 1))]
        codes = bits[: count * head.bits].reshape(count, head.bits) @ worth
        place += size
        scales = np.frombuffer(data[place : place + 6], "<f2") * 2.0**head.scale_exponent
        place += 6
        end = place + 2 * len(channels)
        steps = np.frombuffer(data[place:end], "<f2") * 2.0**head.step_exponent
        place = end
        centre = 0.5 if level.bits <= 3 else 0.0
        found = (codes.reshape(2, len(channels), 3) + centre) * scales / steps[:, None]
        values[:, channels] = found
    assert place == len(data)
    np.testing.assert_allclose(layer.values()[0], values.reshape(10, 3), rtol=1e-6)


def test_the_plan_for_tflite_is_as_described() -> None:
    title = "Files for the runtime tflite"
    files = {row[0].strip("`") for row in rows(title, 2)}
    named = (tflite_plan.MODEL_NAME, tflite_plan.TAPS_NAME, tflite_plan.FILE_NAME)
    assert set(named) <= files
    assert f"`{tflite_plan.probe_name(0)}`" in section(title)
    described = {row[0].strip("`"): row[1] for row in rows(title, 2)}
    plan = json.loads(encode_plan(plan_of()))
    (layer, *_) = plan["layers"].values()
    assert set(plan) <= set(described)
    assert str(plan["format"]) == described["format"] == str(tflite_plan.FILE_FORMAT)
    assert {"rank", "activation", "tap_tensors"} <= set(described)
    assert set(layer) == {"rank", "activation", "model", "taps", "tap_tensors"}
    for key in layer["model"]:
        assert f"`{key}`" in described["model`, `taps"]
    for key in layer["tap_tensors"]:
        assert f"`{key}`" in described["tap_tensors"]
    assert set(layer["model"]["weights"]) <= set(described)
    for choices, key in (
        (tflite_plan.SURROGATES_AT, "surrogates_at"),
        (tflite_plan.ACTIVATIONS, "activation"),
        (tflite_plan.FORMS, "form"),
    ):
        for choice in choices:
            assert f"`{choice}`" in described[key]
