"""The numbers of SMP: operations, groups, return codes. Source: Zephyr, services/device_mgmt."""

from __future__ import annotations

from enum import IntEnum


class Op(IntEnum):
    """What a message is: a request reads or writes, and its response has the next number."""

    READ = 0
    READ_RESPONSE = 1
    WRITE = 2
    WRITE_RESPONSE = 3

    @property
    def is_request(self) -> bool:
        """Whether it goes to the board."""
        return self in {Op.READ, Op.WRITE}

    @property
    def response(self) -> Op:
        """What answers it."""
        return Op(self | 1)


class Group(IntEnum):
    """The groups that the board answers."""

    OS = 0
    STATISTICS = 2
    SETTINGS = 3
    FILES = 8
    ENUMERATION = 10
    NPP = 78
    """Our own; numbers from 64 on are free for it."""


class Code(IntEnum):
    """Return codes that hold in every group (Zephyr, mgmt_defines.h, MGMT_ERR)."""

    UNKNOWN = 1
    NO_MEMORY = 2
    INVALID = 3
    NOT_FOUND = 5
    BAD_STATE = 6
    TOO_LARGE = 7
    NOT_SUPPORTED = 8
    CORRUPT = 9
    BUSY = 10
    ACCESS_DENIED = 11
    VERSION_TOO_NEW = 13


class FileCode(IntEnum):
    """Return codes of the group of files (Zephyr, fs_mgmt.h)."""

    UNKNOWN = 1
    INVALID_NAME = 2
    NOT_FOUND = 3
    READ_FAILED = 7
    WRITE_FAILED = 10
    OFFSET_NOT_VALID = 11
    OFFSET_LARGER = 12
    HASH_NOT_FOUND = 13
    READ_ONLY = 15


class StatisticsCode(IntEnum):
    """Return codes of the group of statistics (Zephyr, stat_mgmt.h)."""

    UNKNOWN_GROUP = 2


class SettingsCode(IntEnum):
    """Return codes of the group of settings (Zephyr, settings_mgmt.h)."""

    NOT_FOUND = 3
    WRITE_NOT_SUPPORTED = 6
    DELETE_NOT_SUPPORTED = 7


class EnumerationCode(IntEnum):
    """Return codes of the group that lists groups (Zephyr, enum_mgmt.h)."""

    INDEX_TOO_LARGE = 4


class OsCode(IntEnum):
    """Return codes of the OS group (Zephyr, os_mgmt.h)."""

    INVALID_FORMAT = 2


class Npp(IntEnum):
    """The commands of our own group; docs/protocol.md says what they carry."""

    STATUS = 0
    MEASURE = 1
    CALIBRATE = 2
    JOB = 3
    LAYERS = 4
    HISTORY = 5
    ROLLBACK = 6
    SUBSCRIBE = 7
    ACTIVATE = 8
    DOCUMENT = 9
    CHALLENGE = 10
    REASON = 11
    EVENT = 12
    SIGNED = 13


PROTOCOL_VERSION = 1
"""Of our own group; grows when a client of before would misunderstand a board of now."""

BUFFER_BYTES = 2048
"""Of one message with its length and CRC, as `parameters` tells clients."""

MAX_MESSAGE_BYTES = BUFFER_BYTES - 4
