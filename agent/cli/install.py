"""`npp-agent install`: a bundle goes into a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from agent.chip import IDEAL, describe_chip
from agent.cli.common import FILE, emit, json_option, store_option
from agent.cli.installed import INSTALLATION, chip_text, note, trust_text
from agent.cli.table import pairs
from agent.cli.units import bytes_text
from agent.installation import install, prepared
from agent.store.bundle import open_bundle
from agent.store.signature import public_key_in
from agent.store.store import Store
from calib.schemes.weights import SCHEMES


@click.command()
@click.argument("bundle", metavar="FILE.npp", type=FILE)
@store_option
@click.option(
    "--chip",
    default=IDEAL,
    show_default=True,
    help="For the emulator: a preset such as mismatch-15, or a TOML file.",
)
@click.option(
    "--chip-seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Which chip of its kind: the same seed is always the same chip.",
)
@click.option(
    "--scheme", type=click.Choice([*SCHEMES]), help="Quantise a float bundle here, to this level."
)
@click.option(
    "--trust",
    metavar="KEY.pem",
    type=FILE,
    help="A public Ed25519 key: from now on the store takes only bundles signed with it.",
)
@json_option
def command(  # noqa: PLR0913, PLR0917  # one argument an option
    bundle: Path,
    store: Path,
    chip: str,
    chip_seed: int,
    scheme: str | None,
    trust: Path | None,
    as_json: bool,  # noqa: FBT001  # click passes flags by name
) -> None:
    """Put a bundle into a store, and choose the chip that is emulated.

    Factors of an earlier installation are retired; the history stays.
    """
    described = describe_chip(chip, chip_seed)
    opened = open_bundle(bundle)
    public_key = None if trust is None else public_key_in(trust)
    kept, package = prepared(opened, scheme)
    target = Store(store)
    with target.lock(create=True):
        state = install(target, kept, package, described, origin=opened, public_key=public_key)
        facts = {
            "model": package.model,
            "scheme": package.network.scheme,
            "runtime": package.runtime,
            "chip": described,
            "bundle_id": state.bundle_id,
            "trust": None if state.trust is None else asdict(state.trust),
        }
        note(target, INSTALLATION, facts)
    result = {"store": str(store), **facts, "bytes": len(kept.data)}
    table = pairs(
        [
            ("store", str(store)),
            ("model", package.model),
            ("scheme", package.network.scheme),
            ("chip", chip_text(described)),
            ("bundle", bytes_text(len(kept.data))),
            *([] if state.trust is None else [("trusts", trust_text(state.trust))]),
        ]
    )
    emit(result, as_json=as_json, table=table)
