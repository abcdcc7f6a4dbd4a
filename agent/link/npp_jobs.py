"""Group 78: the commands that take time or change something, each a job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from agent.errors import BundleError
from agent.link.board import Activate, Board, Calibrate, Outcome, Report, Say
from agent.link.codes import Code, Npp, Op
from agent.link.commands import Commands
from agent.link.fields import Fields
from agent.link.jobs import Jobs, Work
from agent.link.refusal import Refusal
from agent.link.session import Session
from agent.link.staging import StagingArea
from agent.store.bundle import MAX_BUNDLE_BYTES

_SHA256_BYTES = 32


def job_commands(board: Board, jobs: Jobs, staging: StagingArea) -> Commands:
    """What the group does; every answer is the number of the job that does it."""

    def begin(kind: str, work: Work) -> Mapping[str, Any]:
        return {"job": jobs.start(kind, work).number}

    def measure(fields: Fields, session: Session) -> Mapping[str, Any]:
        given = _conditions(fields)
        fields.end()
        if any(value is not None for value in given.values()):
            session.must_be_allowed("changing the chip's conditions")
        return begin("measure", lambda report, say: board.measure(given, report, say))

    def calibrate(fields: Fields, session: Session) -> Mapping[str, Any]:
        request = _calibration(fields)
        session.must_be_allowed("a calibration")
        return begin("calibrate", lambda report, say: board.calibrate(request, report, say))

    def rollback(fields: Fields, session: Session) -> Mapping[str, Any]:
        to = fields.maybe_whole("to")
        fields.end()
        session.must_be_allowed("a rollback")
        return begin("rollback", lambda _report, _say: board.rollback(to))

    def activate(fields: Fields, session: Session) -> Mapping[str, Any]:
        name, digest = fields.text("name"), fields.data("sha256")
        fields.end()
        session.must_be_allowed("activating a bundle")
        if len(digest) != _SHA256_BYTES:
            raise Refusal(f"sha256 has {len(digest)} bytes, not {_SHA256_BYTES}")

        def work(report: Report, say: Say) -> Outcome:
            data = _uploaded(staging, name, digest)
            outcome = board.activate(Activate(name, data), report, say)
            staging.remove(name)
            return outcome

        _uploaded_size(staging, name)
        return begin("activate", work)

    return {
        (Npp.MEASURE, Op.WRITE): measure,
        (Npp.CALIBRATE, Op.WRITE): calibrate,
        (Npp.ROLLBACK, Op.WRITE): rollback,
        (Npp.ACTIVATE, Op.WRITE): activate,
    }


def _conditions(fields: Fields) -> Mapping[str, float | None]:
    return {
        "age_s": fields.maybe_number("age_s", 0.0),
        "temperature_c": fields.maybe_number("temperature_c", -273.15),
        "supply_v": fields.maybe_number("supply_v", 0.0),
    }


def _calibration(fields: Fields) -> Calibrate:
    request = Calibrate(
        samples=fields.maybe_whole("samples", 1, 1_000_000),
        select=fields.maybe_text("select"),
        method=fields.maybe_text("method"),
        rank=fields.maybe_whole("rank", 0, 4096),
        budget_bytes=fields.maybe_whole("budget_bytes", 0, 2**31 - 1),
        budget_mac_share=fields.maybe_number("budget_mac_share", 0.0),
        budget_slowdown=fields.maybe_number("budget_slowdown", 1.0),
        dry_run=fields.flag("dry_run"),
        conditions=_conditions(fields),
    )
    fields.end()
    return request


def _uploaded_size(staging: StagingArea, name: str) -> int:
    file = staging.file(name)
    if file is None:
        raise Refusal(f"no upload is named {name!r}", Code.NOT_FOUND)
    if file.size_bytes > MAX_BUNDLE_BYTES:
        raise Refusal(f"{name} has {file.size_bytes} bytes, a bundle at most {MAX_BUNDLE_BYTES}")
    return file.size_bytes


def _uploaded(staging: StagingArea, name: str, digest: bytes) -> bytes:
    """The bytes of an upload, if they are those that were meant.

    Raises:
        BundleError: they are others.
    """
    file = staging.file(name)
    data = b"" if file is None else file.read(0, file.size_bytes)
    found = hashlib.sha256(data).digest()
    if found != digest:
        raise BundleError(
            f"the upload {name} has {len(data)} bytes with SHA-256 {found.hex()[:16]}…, expected "
            f"was {digest.hex()[:16]}…: upload it again"
        )
    return data
