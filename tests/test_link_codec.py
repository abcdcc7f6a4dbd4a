"""Frames, CBOR and messages of the link: golden bytes, and the smp package on the other side."""

from __future__ import annotations

import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smp import error as smp_error
from smp import file_management as smp_file
from smp import header as smp_header
from smp import os_management as smp_os
from smp import packet as smp_packet

from agent.link import frames
from agent.link.cbor import CborError, decode_map, encode_map
from agent.link.codes import BUFFER_BYTES, MAX_MESSAGE_BYTES, Op
from agent.link.messages import Header, Message, MessageError, decode, encode

ECHO = Message(Header(Op.WRITE, 0, 0, 7), {"d": "hi"})


def read_all(data: bytes, piece: int = 1 << 20) -> list[bytes]:
    reader = frames.FrameReader()
    return [
        message
        for at in range(0, len(data), piece)
        for message in reader.feed(data[at : at + piece])
    ]


# Bytes that must never change: a board in the field speaks them.
GOLDEN = {
    "echo": (ECHO, "0a00000600000700a16164626869"),
    "echo in version 1": (
        Message(Header(Op.WRITE, 0, 0, 7, version=1), {"d": "hi"}),
        "0200000600000700a16164626869",
    ),
    "a refusal": (
        Message(Header(Op.READ_RESPONSE, 8, 0, 255), {"err": {"group": 8, "rc": 3}}),
        "09000011000 8ff00a163657272a26272630365 67726f757008".replace(" ", ""),
    ),
    "status": (Message(Header(Op.READ, 78, 0, 0)), "08000001004e0000a0"),
    "start a calibration": (
        Message(Header(Op.WRITE, 78, 2, 1), {"samples": 32, "dry_run": True}),
        "0a000014004e0102a26764 72795f72756ef56773616d706c65731820".replace(" ", ""),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_messages_have_their_golden_bytes(name: str) -> None:
    message, wanted = GOLDEN[name]
    assert encode(message).hex() == wanted
    assert decode(bytes.fromhex(wanted)) == message


def test_a_frame_has_its_golden_bytes() -> None:
    assert frames.encode(encode(ECHO)) == b"\x06\x09ABAKAAAGAAAHAKFhZGJoaSVk\n"


def test_our_frames_are_those_of_the_smp_package() -> None:
    for size in (0, 1, 90, 91, 92, 300, MAX_MESSAGE_BYTES):
        message = bytes(range(256)) * 8
        ours = frames.encode(message[:size])
        assert ours == b"".join(smp_packet.encode(message[:size], line_length=128))
        assert all(len(line) <= 127 for line in ours.splitlines(keepends=True))


@given(st.binary(max_size=MAX_MESSAGE_BYTES), st.integers(1, 400))
def test_what_one_side_frames_the_other_reads(message: bytes, piece: int) -> None:
    lines = list(smp_packet.encode(message, line_length=128))
    assert read_all(b"".join(lines), piece) == [message]
    decoder = smp_packet.decode()
    next(decoder)
    *lines, last = frames.encode(message).splitlines(keepends=True)
    for line in lines:
        decoder.send(line)
    with pytest.raises(StopIteration) as end:
        decoder.send(last)
    assert end.value.value == message


def test_the_smp_package_reads_ours_and_we_read_its() -> None:
    theirs = smp_os.EchoWriteRequest(d="hi", sequence=7)
    assert bytes(theirs) == encode(ECHO)
    answer = Message(Header(Op.WRITE_RESPONSE, 0, 0, 7), {"r": "hi"})
    assert smp_os.EchoWriteResponse.loads(encode(answer)).r == "hi"
    upload = smp_file.FileUploadRequest(name="a", off=0, data=b"xyz", len=3, sequence=1)
    assert decode(bytes(upload)).body == {"name": "a", "off": 0, "data": b"xyz", "len": 3}
    refused = Message(Header(Op.WRITE_RESPONSE, 8, 0, 7), {"err": {"group": 8, "rc": 2}})
    said = smp_file.FileSystemManagementErrorV2.loads(encode(refused))
    assert said.err.rc == smp_file.FS_MGMT_ERR.FILE_INVALID_NAME
    plain = Message(Header(Op.WRITE_RESPONSE, 0, 0, 7), {"rc": 8})
    assert smp_os.OSManagementErrorV1.loads(encode(plain)).rc == smp_error.MGMT_ERR.ENOTSUP


@given(
    st.sampled_from(list(Op)),
    st.sampled_from([1, 2]),
    st.integers(64, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_headers_are_those_of_the_smp_package(
    op: Op, version: int, group: int, command: int, sequence: int
) -> None:
    ours = encode(Message(Header(op, group, command, sequence, version)))
    theirs = smp_header.Header.loads(ours[:8])
    assert (theirs.op, theirs.version + 1, theirs.group_id) == (op, version, group)
    assert (theirs.command_id, theirs.sequence, theirs.length) == (command, sequence, 1)


@pytest.mark.parametrize(
    "around",
    [
        b"raspberrypi login: %s",
        b"[  12.345678] usb 1-1: new device\r\n%s[  13.0] more\n",
        b"\x1b[32mgreen\x1b[0m %s",
        b"\n\n\n%s\n",
    ],
)
def test_console_text_around_frames_does_not_disturb(around: bytes) -> None:
    framed = frames.encode(encode(ECHO))
    assert read_all((around % framed) * 3, piece=11) == [encode(ECHO)] * 3


def test_console_lines_between_the_lines_of_a_frame_do_not_disturb() -> None:
    message = bytes(300)
    lines = frames.encode(message).splitlines(keepends=True)
    assert len(lines) > 2
    assert read_all(b"kernel: warm\n".join(lines)) == [message]


def test_carriage_returns_are_taken() -> None:
    assert read_all(frames.encode(b"abc").replace(b"\n", b"\r\n")) == [b"abc"]


def test_a_line_lost_loses_one_message_and_no_other() -> None:
    first, second = bytes(300), b"second"
    lines = frames.encode(first).splitlines(keepends=True)
    for lost in range(len(lines)):
        kept = b"".join(line for number, line in enumerate(lines) if number != lost)
        reader = frames.FrameReader()
        assert reader.feed(kept + frames.encode(second)) == [second]
        assert (reader.quality.frames, reader.quality.broken) == (1, 1 if lost else 0)


@given(st.binary(max_size=300), st.data())
def test_a_flipped_bit_never_makes_another_message(message: bytes, data: st.DataObject) -> None:
    framed = bytearray(frames.encode(message))
    at = data.draw(st.integers(0, len(framed) - 1))
    framed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert read_all(bytes(framed)) in ([], [message])


def test_an_oversized_frame_is_dropped_when_it_says_its_length() -> None:
    reader = frames.FrameReader()
    data = frames.encode(bytes(60_000))
    assert reader.feed(data) == []
    assert reader.quality.broken == 1
    assert reader._frame is None
    assert reader.feed(frames.encode(b"next")) == [b"next"]


def test_a_line_that_never_ends_takes_no_memory() -> None:
    reader = frames.FrameReader()
    for _ in range(100):
        assert reader.feed(bytes(10_000)) == []
    assert len(reader._line) < 1000
    assert reader.quality.odd_bytes > 900_000
    assert reader.feed(b"\n" + frames.encode(b"next")) == [b"next"]


def test_noise_and_console_text_are_told_apart() -> None:
    reader = frames.FrameReader()
    reader.feed(b"Debian GNU/Linux 12 board ttyS0\r\n\x1b[1mlogin:\x1b[0m \n")
    assert reader.quality.foreign_bytes > 30
    assert reader.quality.odd_bytes == 0
    assert b"login" in reader.quality.last_text


FORBIDDEN = {
    "a date": "a16164c074323032362d30312d30315430303a30303a30305a",
    "a regular expression": "a16164d8236161",
    "a big number": "a16164c249010000000000000000",
    "a shared reference": "a16164d81c80",
    "undefined": "a16164f7",
    "a simple value": "a16164f0",
    "text without an end": "a161647f6161ff",
    "a list": "80",
    "a number": "01",
    "no text for a name": "a10102",
    "a name inside that is no text": "a16164a10102",
    "nothing": "",
    "too short": "a16164",
    "a length behind the end": "a161645bffffffffffffffff",
    "a map of two to the sixty": "bb1000000000000000",
    "something behind it": "a000",
    "text that is no UTF-8": "a1616461ff",
    "half of a pair": "bf6161ff",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_no_message_may_hold_is_refused(name: str) -> None:
    with pytest.raises(CborError):
        decode_map(bytes.fromhex(FORBIDDEN[name]))


def test_levels_and_items_are_limited() -> None:
    with pytest.raises(CborError, match="levels"):
        decode_map(b"\xa1\x61a" * 20 + b"\xa0")
    with pytest.raises(CborError, match="items"):
        decode_map(b"\xa1\x61a\x99\xff\xff" + bytes(0xFFFF))


def test_maps_and_lists_without_a_length_are_taken() -> None:
    assert decode_map(bytes.fromhex("bf61619f0102ffff")) == {"a": [1, 2]}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=6))
def test_maps_come_back_as_they_went(body: dict[str, Any]) -> None:
    try:
        data = encode_map(body)
    except CborError as error:
        assert "levels" in str(error)  # noqa: PT017  # the only thing that may be wrong
        return
    assert decode_map(data) == body == cbor2.loads(data)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_map_or_refused(data: bytes) -> None:
    try:
        body = decode_map(data)
    except CborError:
        return
    assert cbor2.loads(data) == body or "nan" in repr(body)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = decode(data)
    except MessageError as error:
        assert error.header is None or len(data) >= 8  # noqa: PT017  # both are allowed
        return
    assert decode(encode(message)).header == message.header


def test_a_header_says_what_is_wrong_with_it() -> None:
    head = struct.Struct("!BBHHBB")
    with pytest.raises(MessageError, match="fewer"):
        decode(b"1234567")
    with pytest.raises(MessageError, match="operation"):
        decode(head.pack(5, 0, 1, 0, 0, 0) + b"\xa0")
    with pytest.raises(MessageError, match="operation"):
        decode(head.pack(0x42, 0, 1, 0, 0, 0) + b"\xa0")
    with pytest.raises(MessageError, match="version 3") as caught:
        decode(head.pack(0x12, 0, 1, 0, 9, 0) + b"\xa0")
    assert caught.value.too_new
    assert caught.value.header is not None
    assert caught.value.header.sequence == 9
    with pytest.raises(MessageError, match="header says 5"):
        decode(head.pack(2, 0, 5, 0, 0, 0) + b"\xa0")
    with pytest.raises(ValueError, match="fits no header"):
        encode(Message(Header(Op.READ, 70_000, 0, 0)))
    with pytest.raises(ValueError, match="version 3"):
        encode(Message(Header(Op.READ, 0, 0, 0, version=3)))


def test_the_largest_message_fits_the_buffer_that_clients_are_told() -> None:
    assert MAX_MESSAGE_BYTES + 4 == BUFFER_BYTES
    assert read_all(frames.encode(bytes(MAX_MESSAGE_BYTES))) == [bytes(MAX_MESSAGE_BYTES)]
    assert read_all(frames.encode(bytes(MAX_MESSAGE_BYTES + 1))) == []
    with pytest.raises(ValueError, match="fits no frame"):
        frames.encode(bytes(70_000))
