"""How many threads the libraries under NumPy may start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Where they look, once, when NumPy is imported."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started inside give NumPy one thread: more would wait for each other."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_one_thread() -> bool:
    """Whether this process was told to give NumPy one thread: sums are then always the same."""
    said = (os.environ.get(name) for name in THREADS)
    return next((value for value in said if value), "") == "1"
