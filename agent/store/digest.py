"""SHA-256 of the parts of a bundle, without OpenSSL where Python has its own.

`hashlib` loads OpenSSL, which takes 3.5 MB of memory and is needed for nothing else by a service
that answers. It is several times as fast, which shows from some megabytes on: then it is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

LARGE_BYTES = 16 * 2**20
_OWN = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
"""CPython's own module, which some builds are without."""


def sha256_hex(data: bytes | memoryview) -> str:
    """The digest in hexadecimal digits."""
    digest = _of(len(data))(data).hexdigest()
    return str(digest)


def _of(size: int) -> Callable[..., Any]:
    own = size < LARGE_BYTES and "hashlib" not in sys.modules and importlib.util.find_spec(_OWN)
    module = importlib.import_module(_OWN if own else "hashlib")
    return module.sha256  # type: ignore[no-any-return]  # the same in both
