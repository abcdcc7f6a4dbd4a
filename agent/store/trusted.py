"""Whether a store takes a bundle: signed by the key that it knows, and not older than the last."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import BundleError, StoreError
from agent.store import signature as signatures
from agent.store.bundle import Bundle
from agent.store.state import Trust


def accepted(bundle: Bundle, trust: Trust | None) -> Trust | None:
    """What the store trusts after this bundle is installed.

    Args:
        bundle: as it came.
        trust: what the store trusts now; None: anyone.

    Raises:
        BundleError: it is not signed, by another key, wrongly, or older than the last.
        RuntimeUnavailableError: the package for signatures is not installed.
    """
    if trust is None:
        return None
    known, found = trust.public_key[:12], bundle.signature
    if found is None:
        raise BundleError(
            f"{bundle.name} is not signed, and this store takes only what key {known} has signed: "
            "pack it with --sign"
        )
    if found.public_key.hex() != trust.public_key:
        raise BundleError(
            f"{bundle.name} is signed with key {found.public_key.hex()[:12]}, and this store takes "
            f"only what key {known} has signed"
        )
    signatures.check(found, bundle.id, bundle.name)
    if found.version < trust.version:
        raise BundleError(
            f"{bundle.name} has version {found.version}, and version {trust.version} was installed "
            "here already: an older one is not taken"
        )
    return replace(trust, version=found.version)


def pinned(trust: Trust | None, public_key: bytes | None) -> Trust | None:
    """The trust of a store when a key is to be installed in it.

    Raises:
        StoreError: another key is there already.
    """
    if public_key is None:
        return trust
    if trust is None:
        return Trust(public_key.hex(), 0)
    if trust.public_key != public_key.hex():
        raise StoreError(
            f"this store knows key {trust.public_key[:12]} and does not take "
            f"{public_key.hex()[:12]} in its place: uninstall first"
        )
    return trust
