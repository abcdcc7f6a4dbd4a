"""Real networks on TFLite through the commands: what 4 bits lose and what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.agent_stores import npp, npp_process
from tests.board_bundles import bundle_in

pytestmark = pytest.mark.slow

TESTED = {"resnet8": ("cifar10.npz", "test_", 1000), "keywords": ("kws.npz", "", 300)}
"""By network: its data file, a part that packing did not see, and how many of its last samples."""


def unseen(directory: Path, name: str, folder: Path) -> Path:
    file, part, count = TESTED[name]
    with np.load(directory / file) as arrays:
        x, y = arrays[f"{part}x"][-count:], arrays[f"{part}y"][-count:]
    np.savez(folder / "data.npz", x=x, y=y)
    return folder / "data.npz"


@pytest.mark.parametrize("method", ["probe", "sequential"])
@pytest.mark.parametrize("name", TESTED)
def test_four_bits_come_back_to_what_float_answers(
    name: str,
    method: str,
    data_directory: Path,
    real_board_bundles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ("--store", tmp_path / "store")
    bundle = bundle_in(real_board_bundles, f"{name}-int4")
    assert npp(capsys, "install", bundle, *store).code == 0
    assert npp(capsys, "calibrate", *store, "--method", method).code == 0
    data = unseen(data_directory, name, tmp_path)
    found = npp(capsys, "evaluate", *store, "--data", data, "--json").document
    assert found["uncorrected"] < 0.9 * found["float"], found
    assert found["corrected"] > 0.95 * found["float"], found
    assert found["agreement"] > 0.85, found


@pytest.mark.parametrize("name", TESTED)
def test_a_file_of_8_bits_has_nothing_to_repair(
    name: str,
    data_directory: Path,
    real_board_bundles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ("--store", tmp_path / "store")
    bundle = bundle_in(real_board_bundles, f"{name}-file")
    assert npp(capsys, "install", bundle, *store).code == 0
    said = npp_process("calibrate", *store, "--json")
    assert (said.code, said.err) in {(0, ""), (3, "")}, said.err
    data = unseen(data_directory, name, tmp_path)
    found = npp(capsys, "evaluate", *store, "--data", data, "--json").document
    assert found["corrected"] > found["uncorrected"] - 0.01, found
    measured = npp(capsys, "measure", *store, "--json").document
    assert all(layer["relative_error"] < 0.15 for layer in measured["layers"]), measured
