"""The options that sign a bundle, and its writing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.cli.common import FILE
from agent.store.bundle import bundle_bytes, signed_bytes
from agent.store.durable import replace_file
from agent.store.package import Package, to_parts
from agent.store.signature import check_private_key

Function = TypeVar("Function", bound=Callable[..., Any])


def _checked(_context: click.Context, _option: click.Parameter, key: Path | None) -> Path | None:
    """Refuse what is no key before the work, not after it."""
    if key is not None:
        check_private_key(key)
    return key


def signing_options(function: Function) -> Function:
    """Add `--sign` and `--version-number`, None where not given."""
    sign = click.option(
        "--sign",
        metavar="KEY.pem",
        type=FILE,
        callback=_checked,
        help="Sign the bundle with this private Ed25519 key, for stores that know its public one.",
    )
    version_number = click.option(
        "--version-number",
        type=click.IntRange(0, 2**63 - 1),
        help="Inside the signature: stores refuse lower ones than they had. Default: Unix time.",
    )
    return sign(version_number(function))


def written_signed(package: Package, out: Path, key: Path | None, version: int | None) -> int:
    """Write the bundle, signed where there is a key; returns its bytes."""
    document, arrays = to_parts(package)
    data = bundle_bytes(document, arrays, package.files)
    if key is not None:
        data = signed_bytes(data, key, int(time.time()) if version is None else version)
    return replace_file(out, data)
