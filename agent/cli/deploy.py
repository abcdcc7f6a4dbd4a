"""`npp-agent deploy`: a bundle goes to a board, and is installed there once it has run."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.common import FILE, emit, json_option
from agent.cli.installed import chip_text, warn
from agent.cli.line import LineChoice, line_options
from agent.cli.progress import Report, progress, say
from agent.cli.table import pairs
from agent.cli.units import bytes_text, seconds_text
from agent.errors import LinkLostError
from agent.listeners import Listeners
from agent.store.bundle import open_bundle

if TYPE_CHECKING:
    from agent.link.remote import Remote


@click.command()
@click.argument("url", metavar="URL")
@click.argument("bundle", metavar="FILE.npp", type=FILE)
@click.option("--upload-only", is_flag=True, help="Leave it in the staging area.")
@line_options
@json_option
def command(
    bundle: Path,
    upload_only: bool,  # noqa: FBT001  # click passes flags by name
    line: LineChoice,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Send a bundle to the board at URL, and install it there on the same chip.

    A line that breaks is waited for, and the upload goes on where the board has it. The old bundle
    runs on until the new one has been checked and has run its held-back samples.
    """
    opened = open_bundle(bundle)
    name = _upload_name(bundle.name)
    digest = hashlib.sha256(opened.data).digest()
    started_s = time.monotonic()
    with line.connected() as remote:
        with progress("uploading") as report:
            resumed_at = _uploaded(remote, name, opened.data, report)
        facts: dict[str, Any] = {
            "bundle_bytes": len(opened.data),
            "bytes_sent": len(opened.data) - resumed_at,
            "resumed_at": resumed_at,
            "upload_seconds": time.monotonic() - started_s,
            "repeats": remote.client.counts.repeats,
            "sha256": digest.hex(),
            "installed": None,
        }
        if not upload_only:
            from agent.link.codes import Npp  # noqa: PLC0415  # only with a line

            told = (lambda _sentence: None) if as_json else say
            body = {"name": name, "sha256": digest}
            facts["installed"], _ = remote.do(Npp.ACTIVATE, body, Listeners(tell=told, warn=warn))
    emit(facts, as_json=as_json, table=deploy_text(facts))


def _upload_name(name: str) -> str:
    """A file's name as the board takes it."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return plain[-64:].lstrip(".-") or "bundle.npp"


def _uploaded(remote: Remote, name: str, data: bytes, report: Report) -> int:
    """Upload, through lines that break; returns how much the board had before."""
    from agent.link.upload import upload  # noqa: PLC0415  # only with a line

    had: list[int] = []

    def progressed(done: int, total: int) -> None:
        if not had:
            had.append(done)
        report(done, total)

    while True:
        try:
            upload(remote.client, name, data, progressed)
        except LinkLostError as lost:
            say(f"npp-agent: {lost}; waiting for the line")
            remote.reconnect(lost)
        else:
            return had[0]


def deploy_text(document: dict[str, Any]) -> str:
    """The result for a reader."""
    sent, spent_s = document["bytes_sent"], document["upload_seconds"]
    rate = sent / spent_s if spent_s > 0 else 0.0
    resumed = f", went on at {bytes_text(document['resumed_at'])}" if document["resumed_at"] else ""
    lines = [
        ("bundle", bytes_text(document["bundle_bytes"])),
        (
            "uploaded",
            f"{bytes_text(sent)} in {seconds_text(spent_s)}, {bytes_text(round(rate))}/s{resumed}",
        ),
        ("repeats", document["repeats"] or None),
        ("sha256", document["sha256"]),
    ]
    installed = document["installed"]
    if installed is not None:
        canaries = installed["canaries"]
        lines += [
            ("installed", f"{installed['model']}, {installed['scheme']}, in {installed['store']}"),
            ("chip", chip_text(installed["chip"])),
            ("canaries", f"mean relative error {canaries['mean_relative_error']:.4g}"),
        ]
    return pairs(lines)
