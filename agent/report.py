"""Results as documents: the JSON that other programs rely on, and what the history keeps."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agent.buffer import SampleBuffer
from agent.drift import Drift
from agent.loop import Calibration
from calib.verify import Judgement

if TYPE_CHECKING:
    from calib.forecast import Forecast  # a service that does not calibrate has no need of it


def measurement_document(measured: Judgement, drift: Drift) -> dict[str, Any]:
    """What `measure` reports."""
    return {
        "layers": [{"name": name, **asdict(error)} for name, error in measured.errors.items()],
        "mean_relative_error": measured.mean_error,
        "held_back_loss": measured.loss,
        "drift": asdict(drift),
    }


def calibration_document(
    calibration: Calibration, buffer: SampleBuffer, sequence_before: int
) -> dict[str, Any]:
    """What `calibrate` reports; the layers' figures are those of the candidate."""
    before, after = calibration.verdict.before, calibration.verdict.after
    commit = calibration.commit
    return {
        **_figures(calibration),
        "selected": [asdict(one) for one in calibration.chosen],
        "buffer": {"capacity_bytes": buffer.capacity_bytes, "bytes_used": buffer.bytes_used},
        "layers": [
            {
                "name": name,
                "rank": calibration.factors[name].rank,
                "error_before": error.relative_error,
                "error_after": after.errors[name].relative_error,
            }
            for name, error in before.errors.items()
        ],
        "sequence": sequence_before if commit is None else commit.sequence,
        "surrogate_mac_share": calibration.spending.mac_share,
        "recoverable": _recoverable(calibration.forecast),
    }


def _recoverable(forecast: Forecast) -> dict[str, Any]:
    """What was predicted: relative errors of the layers themselves."""
    return {
        **_means(forecast),
        "layers": [{"name": name, **asdict(one)} for name, one in forecast.layers.items()],
    }


def _of_limit(used: float | None, allowed: float) -> dict[str, float | None]:
    return {"used": used, "allowed": allowed if math.isfinite(allowed) else None}


def _means(forecast: Forecast) -> dict[str, float]:
    names = ("before", "reachable", "noise_floor")
    return {name: getattr(forecast, name) for name in names}


def history_fields(calibration: Calibration) -> dict[str, Any]:
    """What the history keeps of a calibration."""
    commit = calibration.commit
    return {
        **_figures(calibration),
        "sequence": None if commit is None else commit.sequence,
        "recoverable": _means(calibration.forecast),
    }


def _figures(calibration: Calibration) -> dict[str, Any]:
    verdict, commit = calibration.verdict, calibration.commit
    spending = calibration.spending
    before, after = verdict.before, verdict.after
    return {
        "accepted": verdict.accepted,
        "reason": verdict.reason,
        "method": calibration.method,
        "samples_used": len(calibration.chosen),
        "seconds": calibration.seconds,
        "bytes_written": 0 if commit is None else commit.bytes_written,
        "held_back": {"before": before.loss, "after": after.loss},
        "mean_layer_error": {"before": before.mean_error, "after": after.mean_error},
        "budget": {
            "bytes": _of_limit(spending.bytes, spending.bytes_allowed),
            "mac_share": _of_limit(spending.mac_share, spending.mac_share_allowed),
            "slowdown": _of_limit(spending.slowdown, spending.slowdown_allowed),
        },
    }
