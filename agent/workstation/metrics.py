"""A board's figures for Prometheus: what `monitor --prometheus` exports."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agent.errors import InputError
from agent.link.watching import Snapshot

LOOPBACK = "127.0.0.1"
STATES = ("unknown", "healthy", "watch", "drifted", "failed")

GAUGES = {
    "npp_mean_relative_error_ratio": ("mean_error", "Mean relative error of the layers."),
    "npp_drift_score_ratio": ("score", "Mean layer error over that after the calibration."),
    "npp_factors_sequence": ("factors", "Number of the active factors; 0 for none."),
    "npp_last_measurement_timestamp_seconds": ("measured_s", "Unix time of it."),
    "npp_last_calibration_timestamp_seconds": ("calibrated_s", "Unix time of it."),
    "npp_chip_temperature_celsius": ("temperature_c", "As the store remembers it."),
}
COUNTERS = {
    "npp_calibrations": ("calibrations", "That the history knows, refused ones too."),
    "npp_rollbacks": ("rollbacks", "That the history knows."),
    "npp_factors_written_bytes": ("written_bytes", "Of factors, by calibrations."),
}


class Metrics:
    """An HTTP server that Prometheus reads.

    Args:
        address: `PORT` or `HOST:PORT`.

    Raises:
        InputError: it is no address, or taken; or prometheus_client is not installed.
    """

    def __init__(self, address: str) -> None:
        """Serve."""
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or int(port) > 65_535:
            raise InputError(f"--prometheus {address} is no address; give [HOST:]PORT")
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._up = False
        try:
            from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415
        except ImportError as error:
            raise InputError(
                "figures for Prometheus need prometheus-client: python -m pip install "
                "'npp-agent[monitor]'"
            ) from error
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(
                int(port), host.strip("[]") or LOOPBACK, registry
            )
        except OSError as error:
            raise InputError(
                f"nothing can be served at {address}: {error.strerror or error}"
            ) from error

    @property
    def port(self) -> int:
        """Where it serves."""
        return int(self._server.server_port)

    def take(self, snapshot: Snapshot) -> None:
        """Keep the newest figures."""
        with self._lock:
            self._snapshot, self._up = snapshot, True

    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing: it shows in the figures."""

    def lost(self, sentence: str) -> None:
        """The board is down; its last figures are not told again."""
        del sentence
        with self._lock:
            self._up = False

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterable[Any]:
        """What prometheus_client asks for at each reading."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  # an extra

        with self._lock:
            snapshot, up = self._snapshot, self._up
        yield GaugeMetricFamily("npp_up", "Whether the board answers.", value=float(up))
        if snapshot is not None and up:
            yield from _of_board(snapshot.board)
            yield from _of_layers(snapshot)
            yield from _of_line(snapshot)


def _of_board(board: Mapping[str, Any]) -> Iterator[Any]:
    from prometheus_client.core import (  # noqa: PLC0415  # an extra
        CounterMetricFamily,
        GaugeMetricFamily,
        InfoMetricFamily,
    )

    names = ("agent", "model", "scheme", "runtime", "chip")
    told = {name: str(board.get(name) or "") for name in names}
    yield InfoMetricFamily("npp_board", "What the board runs.", value=told)
    state = GaugeMetricFamily("npp_drift_state", "1 for the present state.", labels=["state"])
    for name in STATES:
        state.add_metric([name], float(board.get("state") == name))
    yield state
    for metric, (name, text) in GAUGES.items():
        if board.get(name) is not None:
            yield GaugeMetricFamily(metric, text, value=float(board[name]))
    for metric, (name, text) in COUNTERS.items():
        yield CounterMetricFamily(metric, text, value=float(board.get(name) or 0))


def _of_layers(snapshot: Snapshot) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  # an extra

    for metric, name, text in (
        ("npp_layer_relative_error_ratio", "error", "Of a layer, as measured last."),
        ("npp_layer_baseline_error_ratio", "baseline", "Just after the calibration."),
        ("npp_layer_sqnr_decibels", "sqnr_db", "Signal to quantisation noise of a layer."),
        ("npp_layer_rank", "rank", "Of a layer's correction."),
    ):
        family = GaugeMetricFamily(metric, text, labels=["layer"])
        for layer in snapshot.layers:
            if layer.get(name) is not None:
                family.add_metric([str(layer["name"])], float(layer[name]))
        yield family


def _of_line(snapshot: Snapshot) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    line = snapshot.line
    yield GaugeMetricFamily(
        "npp_line_round_trip_seconds", "Of the last reading.", value=line.round_trip_s
    )
    yield CounterMetricFamily("npp_line_repeats", "Requests sent again.", value=line.repeats)
    yield CounterMetricFamily("npp_line_broken_frames", "Damaged frames.", value=line.broken)
