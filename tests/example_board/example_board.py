"""A board with an array on it, as a plugin of npp-agent: small, but whole.

The board speaks over a TCP port of this machine. It keeps what was written into it, so that a layer
is written once and not at the start of every command.
"""

from __future__ import annotations

import hashlib
import json
import socket
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from device_models.contract import Placement
from device_models.errors import DeviceModelError
from device_models.parameters import check, parameter
from device_models.presets import Preset
from device_models.registry import register
from device_models.validity import Validity

PATIENCE_S = 10.0


@dataclass(frozen=True)
class ExampleBoard:
    """Which board: the one that listens at a port."""

    kind: ClassVar[str] = "example-board"

    port: int = parameter(
        5025,
        unit="1",
        meaning="TCP port of this machine at which the board listens",
        source="the board's manual",
        low=1,
        high=65_535,
        whole=True,
    )

    def __post_init__(self) -> None:
        """Check the parameter."""
        check(self)


@dataclass
class Link:
    """One connection: a line of JSON and some bytes there, the same back."""

    port: int
    _stream: Any = field(default=None, repr=False)

    def ask(self, payload: bytes = b"", **request: object) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer."""
        if self._stream is None:
            connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
            self._stream = connection.makefile("rwb")
            connection.close()  # the stream keeps it open
        head = json.dumps({**request, "bytes": len(payload)}).encode() + b"\n"
        self._stream.write(head + payload)
        self._stream.flush()
        line = self._stream.readline()
        if not line:
            raise ConnectionError("the board hung up")
        answer = json.loads(line)
        return answer, self._stream.read(answer["bytes"])

    def close(self) -> None:
        """Hang up."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@dataclass(frozen=True)
class BoardArray:
    """One layer in the board."""

    link: Link
    layer: str
    outputs: int

    def multiply(
        self, codes: NDArray[np.uint8], zero_point: int, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """See `device_models.contract.Array`; a real board brings its own noise."""
        del generator
        answer, content = self.link.ask(
            codes.tobytes(),
            do="multiply",
            layer=self.layer,
            shape=codes.shape,
            zero_point=zero_point,
        )
        if "error" in answer:
            raise DeviceModelError(f"the board refuses layer {self.layer}: {answer['error']}")
        return np.frombuffer(content, np.float32).reshape(*codes.shape[:2], self.outputs).copy()

    def close(self) -> None:
        """Hang up when the command ends."""
        self.link.close()


# Nothing is known of how it ages, so any age beyond 0 is warned of.
@register(ExampleBoard, Validity(longest_age_s=0.0, basis="a board is as old as it is"))
def program_board(model: ExampleBoard, placement: Placement) -> BoardArray:
    """Write a layer into the board, unless it is there already."""
    weights = placement.weights.values()
    link = Link(model.port)
    digest = hashlib.sha256(repr(weights.shape).encode() + weights.tobytes()).hexdigest()
    there, _ = link.ask(do="holds", layer=placement.layer)
    if there["digest"] != digest:
        link.ask(
            weights.tobytes(),
            do="write",
            layer=placement.layer,
            shape=weights.shape,
            digest=digest,
        )
    return BoardArray(link, placement.layer, weights.shape[2])


DEVICE = Preset("example-board", ExampleBoard(), "an array on a board", "the board itself")
