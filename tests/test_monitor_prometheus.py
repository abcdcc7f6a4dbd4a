"""`monitor --prometheus` read by a real Prometheus, which loads the alert rules that ship."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from agent.link.service import ServeOptions
from tests.agent_stores import ROOT, bundle, npp
from tests.links import reached
from tests.monitoring_servers import Prometheus, eventually, free_port, program, prometheus

OPEN = ServeOptions(allow_unauthenticated=True)
Capture = pytest.CaptureFixture[str]
RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
WARM = ("--temperature-c", "40")
DASHBOARD = ROOT / "docs" / "monitoring" / "dashboard.json"


@contextmanager
def exporting(board: str, port: int) -> Iterator[None]:
    """`monitor --prometheus` as a process of its own."""
    command = [sys.executable, "-m", "agent.cli", "monitor", board, "--every-s", "0.2"]
    process = subprocess.Popen(
        [*command, "--prometheus", str(port)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.mark.slow
def test_prometheus_reads_a_board_and_loads_the_rules(tmp_path: Path, capsys: Capture) -> None:
    program("prometheus", "prometheus")
    store, target = tmp_path / "store", free_port()
    packed = bundle(tmp_path / "small.npp")
    npp(capsys, "install", packed, "--store", store, "--chip", "mismatch-30")
    with reached(store, "tcp-listen://:0", options=OPEN) as (port, _), exporting(port, target):
        assert npp(capsys, "calibrate", "--port", port).code == 0
        with prometheus(tmp_path, target, RULES) as server:
            eventually(lambda: server.values("npp_up == 1 and npp_factors_sequence == 1"))
            measured = npp(capsys, "measure", *WARM, "--port", port, "--json").document
            wanted = {layer["name"]: layer["relative_error"] for layer in measured["layers"]}
            eventually(lambda: server.values("npp_layer_relative_error_ratio") == wanted)
            assert server.values("npp_drift_state == 1") == {"healthy": 1.0}
            assert server.values("npp_calibrations_total") == {"npp_calibrations_total": 1.0}
            eventually(lambda: {one["health"] for one in rules(server)} == {"ok"})
            assert {one["name"] for one in rules(server)} == set(FIRES)
            for expression in dashboard_expressions():
                asked = expression.replace("$instance", f"127.0.0.1:{target}")
                assert eventually(partial(server.values, asked)), expression


def rules(server: Prometheus) -> list[dict[str, str]]:
    (group,) = server.asked("rules")["groups"]
    return list(group["rules"])


def dashboard_expressions() -> list[str]:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]


# Of each alert: series, one value a minute, that must fire it at minute 60.
FIRES = {
    "NppBoardDown": ('npp_up{instance="b"}', "1x50 0x20"),
    "NppChipDrifted": ('npp_drift_state{instance="b", state="drifted"}', "0x50 1x20"),
    "NppChipFailed": ('npp_drift_state{instance="b", state="failed"}', "0x10 1x60"),
    "NppNotMeasured": ('npp_last_measurement_timestamp_seconds{instance="b"}', "-600x70"),
    "NppLineLosesFrames": ('npp_line_repeats_total{instance="b"}', "0+60x70"),
}
# The same at the limit's other side.
SILENT = {
    "NppBoardDown": ('npp_up{instance="b"}', "1x59 0x1"),
    "NppChipDrifted": ('npp_drift_state{instance="b", state="watch"}', "1x70"),
    "NppChipFailed": ('npp_drift_state{instance="b", state="failed"}', "0x40 1x20"),
    "NppNotMeasured": ('npp_last_measurement_timestamp_seconds{instance="b"}', "600x70"),
    "NppLineLosesFrames": ('npp_line_repeats_total{instance="b"}', "0+1x70"),
}


def test_the_rules_are_rules() -> None:
    promtool = program("promtool", "prometheus")
    said = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert f"{len(FIRES)} rules found" in said.stdout


def alert_test(name: str, series: str, values: str, *, fires: bool) -> dict[str, object]:
    """What promtool is to try: whether an alert fires at minute 60."""
    expected = [{"labels": "{}", "value": 1}] if fires else []
    firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": values}],
        "promql_expr_test": [{"expr": firing, "eval_time": "60m", "exp_samples": expected}],
    }


@pytest.mark.parametrize("fires", [True, False])
@pytest.mark.parametrize("name", FIRES)
def test_alerts_fire_when_they_should(name: str, fires: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    promtool, file = program("promtool", "prometheus"), tmp_path / "tests.yml"
    series, values = (FIRES if fires else SILENT)[name]
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [alert_test(name, series, values, fires=fires)],
    }
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    said = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
