"""Who may change something: HMAC-SHA-256 over a command's bytes and a nonce used once.

A client asks for a nonce and sends the command inside `signed`, with the code of nonce and command
under the shared key. Each nonce is good for one command on one connection, and the answer brings
the next. Readings are not signed, and neither are answers.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from agent.errors import InputError, StoreError
from agent.store.durable import read_file, replace_file

KEY_BYTES = 32
NONCE_BYTES = 16
CODE_BYTES = 32
_FILE_LIMIT = 4096


def code_of(key: bytes, nonce: bytes, message: bytes) -> bytes:
    """The code of a message: HMAC-SHA-256 (RFC 2104) of nonce and message."""
    return hmac.digest(key, nonce + message, "sha256")


def is_code_of(key: bytes, nonce: bytes, message: bytes, code: bytes) -> bool:
    """Whether a code fits, in a time that does not depend on where it differs."""
    return hmac.compare_digest(code_of(key, nonce, message), code)


def new_nonce() -> bytes:
    """A nonce that nobody can foretell."""
    return secrets.token_bytes(NONCE_BYTES)


def make_key(path: Path) -> None:
    """Write a new key, readable by its owner alone.

    Raises:
        InputError: there is a file already.
        StoreError: it cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} exists: a key is never overwritten; name another file")
    old = os.umask(0o077)
    try:
        replace_file(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
    finally:
        os.umask(old)


def read_key(path: Path) -> bytes:
    """The key in a file: 64 hexadecimal digits.

    Raises:
        InputError: there is none, others may read it, or it holds something else.
    """
    try:
        mode = path.stat().st_mode
        content = read_file(path, _FILE_LIMIT)
    except (OSError, StoreError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: the key cannot be read: {reason}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"others may read the key {path}; run: chmod 600 {path}")
    try:
        key = bytes.fromhex((content or b"").decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(f"{path} holds no key, which has {2 * KEY_BYTES} hexadecimal digits")
    return key
