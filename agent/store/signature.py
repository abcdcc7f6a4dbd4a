"""Signed bundles: an Ed25519 signature over a bundle's id and a version that only rises.

The package `cryptography` (extra `signing`) is needed to sign, and on boards whose store has a
public key installed; nothing else imports it. Bytes: docs/format.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import BundleError, InputError, RuntimeUnavailableError, StoreError
from agent.store.durable import read_file

if TYPE_CHECKING:
    from types import ModuleType

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ENTRY = "signature.bin"
MAGIC = b"NPPK"
FORMAT = 1
MAX_VERSION = 2**63 - 1
_FIELDS = struct.Struct("<4sHHQ32s64s")
BYTES = _FIELDS.size
_PREFIX = b"npp-agent bundle\x00"
_MAX_KEY_BYTES = 16 * 1024


@dataclass(frozen=True)
class Signature:
    """What stands beside the manifest of a signed bundle."""

    version: int
    """Rises from bundle to bundle; inside the signature."""
    public_key: bytes
    """32 bytes."""
    signature: bytes
    """64 bytes."""

    def encode(self) -> bytes:
        """The bytes of the entry."""
        return _FIELDS.pack(MAGIC, FORMAT, 0, self.version, self.public_key, self.signature)


def decode(data: bytes) -> Signature:
    """Read an entry; whether the signature is right is another question.

    Raises:
        ValueError: it is none.
    """
    if len(data) != BYTES:
        raise ValueError(f"its signature has {len(data)} bytes, not {BYTES}")
    magic, form, _, version, key, signature = _FIELDS.unpack(data)
    if (magic, form) != (MAGIC, FORMAT) or version > MAX_VERSION:
        raise ValueError("its signature has a form that this npp-agent does not know")
    return Signature(version, key, signature)


def sign(bundle_id: str, version: int, key: Path) -> Signature:
    """Sign a bundle.

    Args:
        bundle_id: 64 hexadecimal digits.
        version: from 0 to 2⁶³ − 1.
        key: a private Ed25519 key in PEM without a passphrase, as `openssl genpkey -algorithm
            ed25519` makes it.

    Raises:
        RuntimeUnavailableError: `cryptography` is not installed.
        InputError: there is no such key in the file.
    """
    private = _private_key(key)
    public = private.public_key().public_bytes_raw()
    return Signature(version, public, private.sign(_message(bundle_id, version)))


def check_private_key(path: Path) -> None:
    """Make sure that `sign` will find a key.

    Raises:
        RuntimeUnavailableError: `cryptography` is not installed.
        InputError: there is no such key in the file.
    """
    _private_key(path)


def check(signature: Signature, bundle_id: str, name: str) -> None:
    """Make sure that the owner of the key has signed this bundle with this version.

    Raises:
        RuntimeUnavailableError: `cryptography` is not installed.
        BundleError: the signature is wrong.
    """
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - only where one is checked

    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(signature.public_key)
        public.verify(signature.signature, _message(bundle_id, signature.version))
    except (InvalidSignature, ValueError) as error:
        raise BundleError(
            f"{name}: the signature does not belong to this content; copy the file again, or ask "
            "whoever signed it"
        ) from error


def public_key_in(path: Path) -> bytes:
    """The 32 bytes of a public Ed25519 key in a PEM file.

    Raises:
        RuntimeUnavailableError: `cryptography` is not installed.
        InputError: there is no such key in the file.
    """
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    try:
        key = serialization.load_pem_public_key(_pem(path))
    except ValueError as error:
        raise InputError(_no_key(path, "public", "pkey -pubout")) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InputError(_no_key(path, "public", "pkey -pubout"))
    return bytes(key.public_bytes_raw())


def _private_key(path: Path) -> Ed25519PrivateKey:
    _ed25519()
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415 - as above
        Ed25519PrivateKey,
    )

    try:
        key = serialization.load_pem_private_key(_pem(path), password=None)
    except (ValueError, TypeError) as error:
        raise InputError(_no_key(path, "private", "genpkey -algorithm ed25519")) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(_no_key(path, "private", "genpkey -algorithm ed25519"))
    return key


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - optional
    except ImportError as error:
        raise RuntimeUnavailableError(
            "signatures need the package cryptography: install npp-agent[signing]"
        ) from error
    return ed25519


def _pem(path: Path) -> bytes:
    try:
        data = read_file(path, _MAX_KEY_BYTES)
    except StoreError as error:
        raise InputError(str(error)) from error
    if data is None:
        raise InputError(f"there is no key {path}; check the path")
    return data


def _no_key(path: Path, kind: str, how: str) -> str:
    return (
        f"{path} holds no {kind} Ed25519 key in PEM without a passphrase; 'openssl {how}' makes one"
    )


def _message(bundle_id: str, version: int) -> bytes:
    return _PREFIX + version.to_bytes(8, "little") + bytes.fromhex(bundle_id)
