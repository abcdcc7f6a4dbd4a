"""The emulator's benchmark runs, leaves out what is not there with a reason, and judges rightly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drift.names import AGES, OUR_WAYS, OURS, PEER_WAYS, UNCORRECTED
from drift.report import report as drift_report
from drift.ways import Accuracy, complete
from emulator.alternation import Measured
from emulator.processes import Peers
from emulator.report import Run, asked, report
from emulator.subjects import FLOAT, RIVALS, SUBJECTS

ROOT = Path(__file__).resolve().parents[1]


def started(script: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, str(ROOT / "tools" / script), *arguments]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.slow
def test_a_quick_run_measures_what_is_here_and_says_what_is_not(tmp_path: Path) -> None:
    said = started("bench_emulator.py", "--quick", "--out", str(tmp_path / "report.md"))
    assert (tmp_path / "report.md").read_text() + "\n" == said
    rows = table(said)
    for subject in SUBJECTS:
        left_out = f"- {subject.title}: left out, " in said
        assert left_out != (subject.title in rows), subject
    plain = rows["the network in float32 NumPy"]
    assert plain[2] == "1.00"
    assert float(rows["bit planes, exact"][2]) > 1
    assert float(rows["`ideal`"][5]) > 20, "megabytes of a process with NumPy"


@pytest.mark.slow
def test_a_quick_run_of_drift_has_every_way_at_every_age(
    data_directory: Path, tmp_path: Path
) -> None:
    out, results = tmp_path / "drift.md", tmp_path / "drift.jsonl"
    arguments = ("--quick", "--out", str(out), "--results", str(results))
    said = started("bench_drift.py", *arguments, NPP_DATA=str(data_directory))
    rows = table(said)
    month = {way: float(cells[1].split("%")[0]) for way, cells in rows.items() if "%" in cells[0]}
    assert month[OURS] > 60 > month[UNCORRECTED]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    before = results.read_text()
    again = started("bench_drift.py", *arguments, NPP_DATA=str(data_directory))
    assert again == said
    assert results.read_text() == before, "what is known is not measured again"


def measured(rate: float, build_ms: float = 10.0, peak_mb: float = 50.0) -> Measured:
    slower = 1000 / rate
    return Measured([rate] * 3, [slower, slower, 99.0], build_ms, peak_mb, 1.0, {"NumPy": "2"})


def a_run(**found: Measured) -> Run:
    every = {FLOAT: measured(1000), "ideal": measured(900), **found}
    return Run("A network", 64, 16, 3, every, {"numba": "it is not here"}, "3 (abc)")


def test_limits_are_judged_by_the_median() -> None:
    run = a_run(
        **{
            "planes-numpy": measured(1000 / 24),
            "planes-numba": measured(1000 / 16, build_ms=60.0),
            "crosssim-8": measured(5.0),
            "crosssim-4": measured(2.0),
        }
    )
    found = {what: (figure, holds) for what, figure, holds in asked(run)}
    assert found["`ideal`: at most 1.3 times slower"] == ("1.11 times", "yes")
    assert found["bit planes, exact: at most 25 times slower"] == ("24.00 times", "yes")
    assert found["bit planes, exact, numba: at most 15 times slower"] == ("16.00 times", "**no**")
    assert found["a chip's state built in under 50 ms"] == ("60.0 at most", "**no**")
    assert found["peak memory under 300 MB"] == ("50 at most", "yes")
    faster = {what: cells for what, cells in found.items() if "times as fast" in what}
    assert sorted(faster.values()) == [("12.5 times", "**no**"), ("31.2 times", "yes")]


def test_the_report_names_what_is_missing_and_the_versions() -> None:
    text = report(a_run())
    assert "- numba: left out, it is not here." in text
    assert "Versions: numpy 2; CrossSim 3 (abc)." in text
    assert "bit-serial cores" not in text


def test_rivals_without_a_place_are_missing() -> None:
    here = Path("python")
    for rival in RIVALS:
        assert Peers().missing(rival) is not None
        assert Peers(here, here, here).missing(rival) is None
        assert (Peers(crosssim=here).missing(rival) or "").startswith("--")


def test_the_report_of_drift_shows_means_and_extremes() -> None:
    found = [
        Accuracy(way, chip, age_s, accuracy, 100)
        for way, figures in ((OURS, (0.7, 0.8)), ("aihwkit, uncorrected", (0.1, 0.2)))
        for chip, accuracy in enumerate(figures)
        for age_s in list(AGES.values())[:2]
    ]
    rows = table(drift_report(found, 0.81, None))
    assert rows["accuracy, mean (worst to best)"] == ["1 s", "1 hour"]
    assert rows[OURS] == ["75.0% (70.0% to 80.0%)"] * 2
    assert rows["aihwkit, uncorrected"] == ["15.0% (10.0% to 20.0%)"] * 2
    assert np.isclose(AGES["10 years"], 315_360_000)


def test_a_chip_that_was_not_finished_is_measured_again() -> None:
    ages_s = [1.0, 2.0]
    chips = {OUR_WAYS: (1, 2), PEER_WAYS: (1,)}
    found = [
        Accuracy(way, chip, age_s, 0.5, 100)
        for ways, some in chips.items()
        for way in ways
        for chip in some
        for age_s in ages_s
    ]
    assert complete(found, [1, 2], ages_s) == found
    cut = [one for one in found if (one.way, one.chip, one.age_s) != (OURS, 2, 2.0)]
    assert {(one.way in OUR_WAYS, one.chip) for one in complete(cut, [1, 2], ages_s)} == {
        (True, 1),
        (False, 1),
    }
