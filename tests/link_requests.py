"""Every request that the board answers, by a name; the answers are in link_answers.json."""

from __future__ import annotations

from agent.link.codes import Group, Npp, Op
from agent.link.messages import Header, Message


def _message(op: Op, group: int, command: int, **body: object) -> Message:
    return Message(Header(op, group, command, 1), body)


READ, WRITE = Op.READ, Op.WRITE

REQUESTS = {
    "echo": _message(WRITE, Group.OS, 0, d="hello"),
    "parameters": _message(READ, Group.OS, 6),
    "reset": _message(WRITE, Group.OS, 5),
    "set the clock": _message(WRITE, Group.OS, 4, datetime="2026-01-01T00:00:00"),
    "statistics": _message(READ, Group.STATISTICS, 1),
    "statistics of npp": _message(READ, Group.STATISTICS, 0, name="npp"),
    "statistics of nobody": _message(READ, Group.STATISTICS, 0, name="nobody"),
    "a setting": _message(READ, Group.SETTINGS, 0, name="npp/version"),
    "two bytes of a setting": _message(READ, Group.SETTINGS, 0, name="npp/version", max_size=2),
    "another setting": _message(READ, Group.SETTINGS, 0, name="nothing"),
    "write a setting": _message(WRITE, Group.SETTINGS, 0, name="chip/age_s", val=b"30"),
    "write another": _message(WRITE, Group.SETTINGS, 0, name="npp/version", val=b"30"),
    "delete a setting": _message(WRITE, Group.SETTINGS, 1, name="chip/age_s"),
    "commit settings": _message(WRITE, Group.SETTINGS, 2),
    "load settings": _message(READ, Group.SETTINGS, 3),
    "save settings": _message(WRITE, Group.SETTINGS, 3),
    "upload": _message(WRITE, Group.FILES, 0, name="x.npp", off=0, data=b"abc", len=6),
    "go on": _message(WRITE, Group.FILES, 0, name="upload/x.npp", off=3, data=b"def"),
    "upload what is there": _message(WRITE, Group.FILES, 0, name="x.npp", off=3, data=b"def"),
    "upload elsewhere": _message(WRITE, Group.FILES, 0, name="../x", off=0, data=b"abc", len=3),
    "upload over ours": _message(WRITE, Group.FILES, 0, name="factors.bin", off=0, data=b"", len=3),
    "download": _message(READ, Group.FILES, 0, name="history.jsonl", off=0),
    "download behind the end": _message(READ, Group.FILES, 0, name="history.jsonl", off=9),
    "download nothing": _message(READ, Group.FILES, 0, name="factors.bin", off=0),
    "size": _message(READ, Group.FILES, 1, name="bundle.npp"),
    "size of nothing": _message(READ, Group.FILES, 1, name="upload/y.npp"),
    "hash": _message(READ, Group.FILES, 2, name="x.npp"),
    "hash of a part": _message(READ, Group.FILES, 2, name="x.npp", type="crc32", off=1, len=2),
    "another hash": _message(READ, Group.FILES, 2, name="x.npp", type="md5"),
    "hashes": _message(READ, Group.FILES, 3),
    "close": _message(WRITE, Group.FILES, 4),
    "count of groups": _message(READ, Group.ENUMERATION, 0),
    "groups": _message(READ, Group.ENUMERATION, 1),
    "the first group": _message(READ, Group.ENUMERATION, 2),
    "the last group": _message(READ, Group.ENUMERATION, 2, index=5),
    "a group too many": _message(READ, Group.ENUMERATION, 2, index=6),
    "details": _message(READ, Group.ENUMERATION, 3, groups=[0, 78]),
    "layers": _message(READ, Group.NPP, Npp.LAYERS, **{"from": 38}),
    "history": _message(READ, Group.NPP, Npp.HISTORY, last=2),
    "subscribe": _message(WRITE, Group.NPP, Npp.SUBSCRIBE, lease_s=0),
    "document": _message(READ, Group.NPP, Npp.DOCUMENT, name="history", off=0, last=1),
    "another document": _message(READ, Group.NPP, Npp.DOCUMENT, name="nothing", off=0),
    "a job that never was": _message(READ, Group.NPP, Npp.JOB, job=7),
    "measure": _message(WRITE, Group.NPP, Npp.MEASURE),
    "calibrate": _message(WRITE, Group.NPP, Npp.CALIBRATE, samples=8, rank=2, dry_run=True),
    "roll back": _message(WRITE, Group.NPP, Npp.ROLLBACK, to=0),
    "activate nothing": _message(WRITE, Group.NPP, Npp.ACTIVATE, name="y.npp", sha256=bytes(32)),
    "no such rank": _message(WRITE, Group.NPP, Npp.CALIBRATE, rank=-1),
    "another field": _message(WRITE, Group.NPP, Npp.CALIBRATE, sample=8),
    "another type": _message(WRITE, Group.NPP, Npp.CALIBRATE, samples="8"),
    "another command": _message(READ, Group.NPP, 200),
    "another group": _message(READ, 1, 0),
    "why": _message(READ, Group.NPP, Npp.REASON),
}
"""In this order, on one connection of a local pty, each after the job before has ended."""
