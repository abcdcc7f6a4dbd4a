"""Frames as no client would send them: random, cut, changed, too long, whole with odd content."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from agent.link import frames
from agent.link.cbor import encode_map
from agent.link.codes import Op
from agent.link.messages import Header, Message, encode
from tests.link_requests import REQUESTS

_WORDS = [
    "name",
    "off",
    "data",
    "len",
    "d",
    "job",
    "samples",
    "rank",
    "val",
    "message",
    "code",
    "sha256",
    "type",
    "lease_s",
    "to",
    "last",
    "from",
    "groups",
    "age_s",
    "index",
    "force",
]
_NAMES = [
    "../../x",
    "/etc/passwd",
    "upload/a.npp",
    "a.npp",
    "bundle.npp",
    "",
    "npp",
    "\0",
    "a" * 400,
]


def fuzzed(seed: int) -> Iterator[bytes]:
    """Bytes for a wire, without end, always the same for a seed."""
    generator = random.Random(seed)  # noqa: S311  # the same frames each time
    kinds = [_noise, _cut, _flipped, _long, _odd_body, _odd_header, _odd_map, _odd_request]
    while True:
        yield generator.choice(kinds)(generator)


def _valid(generator: random.Random) -> Message:
    return generator.choice(list(REQUESTS.values()))


def _noise(generator: random.Random) -> bytes:
    return generator.randbytes(generator.randrange(1, 200))


def _cut(generator: random.Random) -> bytes:
    framed = frames.encode(encode(_valid(generator)))
    return framed[: generator.randrange(len(framed))] + b"\n" * generator.randrange(2)


def _flipped(generator: random.Random) -> bytes:
    framed = bytearray(frames.encode(encode(_valid(generator))))
    for _ in range(generator.randrange(1, 4)):
        framed[generator.randrange(len(framed))] ^= 1 << generator.randrange(8)
    return bytes(framed)


def _long(generator: random.Random) -> bytes:
    if generator.random() < 0.97:  # most only say that they are long
        claim = generator.randrange(2047, 65_536).to_bytes(2)
        return frames.START + frames.encode(claim + bytes(8))[2:]
    return frames.encode(bytes(generator.randrange(2045, 60_000)))


def _odd_body(generator: random.Random) -> bytes:
    head = encode(_valid(generator))[:8]
    body = generator.randbytes(generator.randrange(0, 60))
    return frames.encode(head[:2] + len(body).to_bytes(2) + head[4:] + body)


def _odd_header(generator: random.Random) -> bytes:
    return frames.encode(generator.randbytes(8) + encode_map({}))


def _odd_map(generator: random.Random) -> bytes:
    request = _valid(generator)
    body = {**request.body, **_some(generator)}
    return frames.encode(encode(Message(request.header, body)))


def _odd_request(generator: random.Random) -> bytes:
    op = generator.choice([Op.READ, Op.WRITE])
    group = generator.choice([0, 2, 3, 8, 10, 78, 64])
    header = Header(op, group, generator.randrange(16), generator.randrange(256))
    return frames.encode(encode(Message(header, _some(generator))))


def _some(generator: random.Random) -> dict[str, Any]:
    return {generator.choice(_WORDS): _value(generator, 0) for _ in range(generator.randrange(4))}


def _value(generator: random.Random, depth: int) -> Any:
    plain: list[Any] = [
        generator.choice([0, 1, -1, 2**31, 2**63, 2**64 - 1, -(2**63)]),
        generator.choice(_NAMES),
        generator.randbytes(generator.randrange(40)),
        generator.choice([True, False, None]),
        generator.choice([0.0, -1.5, float("inf"), float("nan"), 1e300]),
        generator.randrange(1000),
    ]
    kind = generator.randrange(8)
    if kind < len(plain) or depth > 2:
        return plain[kind % len(plain)]
    inner = [_value(generator, depth + 1) for _ in range(generator.randrange(4))]
    return inner if kind == 6 else {"x": inner}
