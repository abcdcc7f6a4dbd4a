"""Freed memory is kept: the same arrays again cost no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from agent.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
def use(size):
    for _ in range(20):
        arrays = [np.ones(size // 4, np.uint8) for _ in range(4)]
use(2**21)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use(2**21)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's way with memory")
def test_freed_arrays_cost_no_faults_again() -> None:
    faults = {}
    for how in ("kept", "as it was"):
        run = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < 100 < faults["as it was"]
