"""What all tests share: loud numerics, hypothesis that repeats itself in CI, real data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# One thread for each worker, and results that do not depend on the number of cores. Before NumPy.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pytest
from hypothesis import settings

# A deadline would make a busy machine a failing test.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.fixture(autouse=True)
def numerics_are_loud() -> Iterator[None]:
    """Overflow, underflow, division by zero and invalid values raise FloatingPointError."""
    with np.errstate(all="raise"):
        yield


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder with real models and samples; tests that need it are skipped without."""
    named = os.environ.get("NPP_DATA")
    if not named:
        pytest.skip("NPP_DATA is not set: it names the folder with the real models and samples")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"NPP_DATA is {named!r}, which is no folder: unset it or correct it")
    return folder


@pytest.fixture(scope="session")
def board_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the bundles of `tests.board_bundles`; NPP_BOARD_BUNDLES names a ready one."""
    named = os.environ.get("NPP_BOARD_BUNDLES")
    if named:
        return Path(named)
    from tests.tflite_bundles import write_bundles  # noqa: PLC0415 - a board has no schema

    folder = tmp_path_factory.mktemp("bundles")
    write_bundles(folder)
    return folder


@pytest.fixture(scope="session")
def real_board_bundles(data_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the bundles of real models; NPP_BOARD_BUNDLES names a ready one."""
    named = os.environ.get("NPP_BOARD_BUNDLES")
    if named:
        return Path(named)
    from tests.tflite_bundles import write_real_bundles  # noqa: PLC0415 - a board has no schema

    folder = tmp_path_factory.mktemp("real")
    write_real_bundles(folder, data_directory)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sums of what passed tests counted with `record_property("counted: …", number)`."""
    sums: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", []):
            if name.startswith("counted: "):
                sums[name.removeprefix("counted: ")] += value
    for name, total in sorted(sums.items()):
        terminalreporter.write_line(f"{total} {name}")
