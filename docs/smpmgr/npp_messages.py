"""The messages of group 78 as the smp package writes them; numbers and maps: docs/protocol.md."""  # noqa: INP001  # a folder for smpmgr

from __future__ import annotations

from enum import IntEnum, unique
from typing import Any

import smp.error as smp_error
import smp.message as smp_message
from pydantic import ConfigDict

GROUP = 78


@unique
class NppCode(IntEnum):
    """The group has no return codes of its own."""

    OK = 0


class ErrorV1(smp_error.ErrorV1):
    """A refusal."""

    _GROUP_ID = GROUP


class ErrorV2(smp_error.ErrorV2[NppCode]):
    """A refusal in version 2."""

    _GROUP_ID = GROUP


class _Answer(smp_message.ReadResponse):
    """A map as it comes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    _GROUP_ID = GROUP


class _WriteAnswer(smp_message.WriteResponse):
    """A map as it comes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    _GROUP_ID = GROUP


class _Read(smp_message.ReadRequest):
    _GROUP_ID = GROUP
    _ErrorV1 = ErrorV1
    _ErrorV2 = ErrorV2


class _Write(smp_message.WriteRequest):
    _GROUP_ID = GROUP
    _ErrorV1 = ErrorV1
    _ErrorV2 = ErrorV2


class StatusAnswer(_Answer):
    """What `status` says."""

    _COMMAND_ID = 0


class Status(_Read):
    """The board in a few words."""

    _COMMAND_ID = 0
    _Response = StatusAnswer


class Begun(_WriteAnswer):
    """The number of the job that does it."""

    job: int


class MeasureBegun(Begun):
    """Of a measurement."""

    _COMMAND_ID = 1


class Measure(_Write):
    """Begin a measurement."""

    _COMMAND_ID = 1
    _Response = MeasureBegun


class CalibrateBegun(Begun):
    """Of a calibration."""

    _COMMAND_ID = 2


class Calibrate(_Write):
    """Begin a calibration."""

    _COMMAND_ID = 2
    _Response = CalibrateBegun

    samples: int | None = None


class JobAnswer(_Answer):
    """How a job stands."""

    _COMMAND_ID = 3
    state: str


class Job(_Read):
    """Ask how a job stands."""

    _COMMAND_ID = 3
    _Response = JobAnswer

    job: int


class LayersAnswer(_Answer):
    """A page of layers."""

    _COMMAND_ID = 4
    count: int
    layers: list[dict[str, Any]]


class Layers(_Read):
    """Ask for the layers from the first on."""

    _COMMAND_ID = 4
    _Response = LayersAnswer


class HistoryAnswer(_Answer):
    """The newest entries."""

    _COMMAND_ID = 5
    entries: list[dict[str, Any]]


class History(_Read):
    """Ask for the newest entries."""

    _COMMAND_ID = 5
    _Response = HistoryAnswer

    last: int | None = None


class RollbackBegun(Begun):
    """Of a roll-back."""

    _COMMAND_ID = 6


class Rollback(_Write):
    """Begin a roll-back."""

    _COMMAND_ID = 6
    _Response = RollbackBegun

    to: int | None = None


class ReasonAnswer(_Answer):
    """Why the last command was refused."""

    _COMMAND_ID = 11
    text: str


class Reason(_Read):
    """Ask why."""

    _COMMAND_ID = 11
    _Response = ReasonAnswer
