"""The sample buffer: which samples matter most, within a bound of bytes.

A reference sample costs a record only, because its data stands in the bundle; a live one costs its
data too. When the bound is reached the sample of the lowest value leaves first. The buffer is kept
over restarts as bytes; docs/format.md gives them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from agent.errors import StoreError

DEFAULT_CAPACITY_BYTES = 256 * 1024
_HEAD = struct.Struct("<HHI")  # format, 0, records
_RECORD = struct.Struct("<BxHIdd")  # origin, 0, index, value, measured_at_s
_LENGTH = struct.Struct("<I")
_FORMAT = 1


class Origin(IntEnum):
    """Where a sample comes from."""

    REFERENCE = 0
    LIVE = 1


@dataclass(frozen=True)
class BufferedSample:
    """A sample worth keeping."""

    origin: Origin
    index: int
    """Of a reference, its number in the bundle; of a live sample, a running number."""

    value: float
    """Its sensitivity when it was measured last."""

    measured_at_s: float
    """By the agent's clock."""

    data: bytes = b""
    """A live sample's input; empty for a reference."""

    @property
    def bytes(self) -> int:
        """What the sample takes of the capacity."""
        return _RECORD.size + _LENGTH.size + len(self.data)


class SampleBuffer:
    """A bounded set of samples, one for each origin and index."""

    def __init__(self, capacity_bytes: int = DEFAULT_CAPACITY_BYTES) -> None:
        """An empty buffer."""
        self.capacity_bytes = capacity_bytes
        self._samples: dict[tuple[Origin, int], BufferedSample] = {}

    @property
    def bytes_used(self) -> int:
        """Bytes of all samples."""
        return sum(sample.bytes for sample in self._samples.values())

    @property
    def samples(self) -> tuple[BufferedSample, ...]:
        """The samples, most valuable first."""
        return tuple(sorted(self._samples.values(), key=_order))

    def offer(self, samples: Iterable[BufferedSample]) -> None:
        """Take samples in, newer measurements replacing older ones, and let the lowest leave."""
        self._samples.update(((sample.origin, sample.index), sample) for sample in samples)
        used = self.bytes_used
        for sample in reversed(self.samples):
            if used <= self.capacity_bytes:
                return
            del self._samples[sample.origin, sample.index]
            used -= sample.bytes

    def to_bytes(self) -> bytes:
        """The buffer as it is kept over restarts."""
        blocks = [_HEAD.pack(_FORMAT, 0, len(self._samples))]
        for s in self.samples:
            blocks.append(_RECORD.pack(s.origin, 0, s.index, s.value, s.measured_at_s))
            blocks += [_LENGTH.pack(len(s.data)), s.data]
        return b"".join(blocks)

    @classmethod
    def from_bytes(
        cls, content: bytes, capacity_bytes: int = DEFAULT_CAPACITY_BYTES
    ) -> SampleBuffer:
        """The inverse of `to_bytes`.

        Raises:
            StoreError: the bytes are damaged, or of another format.
        """
        buffer = cls(capacity_bytes)
        try:
            buffer.offer(_parsed(content))
        except (struct.error, ValueError) as error:
            raise StoreError(
                f"the sample buffer is damaged ({error}); it starts empty, no factors are lost"
            ) from error
        return buffer


def _order(sample: BufferedSample) -> tuple[float, Origin, int]:
    """Most valuable first; what could not be valued comes last."""
    value = -math.inf if math.isnan(sample.value) else sample.value
    return -value, sample.origin, sample.index


def _parsed(content: bytes) -> list[BufferedSample]:
    version, _, count = _HEAD.unpack_from(content)
    if version != _FORMAT:
        raise ValueError(f"format {version} where {_FORMAT} is known")
    place, samples = _HEAD.size, []
    for _ in range(count):
        origin, _, index, value, measured_at_s = _RECORD.unpack_from(content, place)
        (length,) = _LENGTH.unpack_from(content, place + _RECORD.size)
        start = place + _RECORD.size + _LENGTH.size
        place = start + length
        if place > len(content):
            raise ValueError(f"{len(content)} bytes where {place} were announced")
        data = content[start:place]
        samples.append(BufferedSample(Origin(origin), index, value, measured_at_s, data))
    if place != len(content):
        raise ValueError(f"{len(content) - place} bytes left over")
    return samples
