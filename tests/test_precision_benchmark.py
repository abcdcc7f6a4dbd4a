"""The benchmark of precisions on a tiny network: its figures, its table, and going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_precision import HEAD, measured, table
from precision.subjects import PRECISIONS, Subject

from calib.decision import decision_graph
from calib.graph.executor import run
from tests import agent_stores

ROOT = Path(__file__).resolve().parents[1]


def tiny() -> Subject:
    x, y = agent_stores.labelled(64, 1)
    test_x, _ = agent_stores.labelled(40, 2)
    graph = decision_graph(agent_stores.GRAPH)
    clean = run(graph, test_x)[graph.output].argmax(axis=1)
    return Subject(agent_stores.GRAPH, x, y, x, test_x, clean)


@pytest.mark.parametrize(
    "name", ["int8", "channelwise 3 (2,4,8)", "channelwise 2 (1,2,4), trained"]
)
def test_figures_of_a_tiny_network(name: str) -> None:
    precision = next(one for one in PRECISIONS if one.name == name)
    with np.errstate(under="ignore"):
        row = measured(tiny(), precision, 2)
    assert row["float"] == 1.0
    wanted = precision.options.get("bits_mean", 8.0)
    assert row["bits_mean"] <= wanted
    assert row["bytes"] < row["float_bytes"]
    for key in ("ideal uncorrected", "ideal corrected", "mismatch-10 corrected"):
        assert 0 <= row[key] <= 1
        assert row[f"{key} agreement"] == row[key]  # the labels are the float network's answers
    lines = table([row]).splitlines()
    assert lines[0].count("|") == lines[2].count("|") == len(HEAD) + 1


def test_rows_that_are_there_are_not_measured_again(tmp_path: Path) -> None:
    keys = ("ideal uncorrected", "ideal corrected", "mismatch-10 uncorrected",
            "mismatch-10 corrected", "mismatch-10 corrected agreement")  # fmt: skip
    figures = dict.fromkeys(keys, 0.5)
    sizes = {"bytes": 10, "float_bytes": 80, "ebops": 1e6, "conversions": 1000, "bits_mean": 4.0}
    rows = [
        {
            "network": "digits",
            "precision": one.name,
            "float": 0.9,
            "epochs": 0,
            "samples": 4,
            **sizes,
            **figures,
        }
        for one in PRECISIONS
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "tools/bench_precision.py", "--only", "digits", "--rows", str(file)],
        cwd=ROOT,
        env={**os.environ, "NPP_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("| 8.0x |") == len(PRECISIONS)
    assert "Float: 90.0% of 4 samples, 80 bytes." in done.stdout
