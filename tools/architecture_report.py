"""The tables of `bench_architectures`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bench_report import markdown_table

HEAD = (
    "network, weights, chip", "float", "uncorrected", "corrected", "recovery, mean", "worst",
    "agreement", "loss", "output SQNR, dB", "layer error", "operations", "factors, KiB", "accepted",
)  # fmt: skip
GROUPED_HEAD = (
    "network, weights, chip", "grouped layers", "accuracy", "agreement", "loss", "layer error",
    "of grouped layers", "factors, KiB", "operations",
)  # fmt: skip
WAYS = (
    ("frozen", "frozen"),
    ("gain and offset", "gain and offset"),
    ("calibrated", "low rank in each group"),
)


def recovery_table(rows: Sequence[Any], cases: Sequence[str]) -> str:
    """Before and after a calibration, a row a case."""
    lines = []
    for case in cases:
        before, after = (_of(rows, case, how) for how in ("nothing", "calibrated"))
        lines.append([case, *_accuracies(before, after), *_rest(before, after)])
    return markdown_table(HEAD, lines)


def _accuracies(before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    if after[0].float_accuracy is None:
        return ["-"] * 5
    recoveries = [row.accuracy / row.float_accuracy for row in after]
    shares = (_mean(after, "float_accuracy"), _mean(before, "accuracy"), _mean(after, "accuracy"))
    return [
        *(f"{share:.1%}" for share in shares),
        f"{np.mean(recoveries):.3f}",
        f"{min(recoveries):.3f}",
    ]


def _rest(before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    return [
        _pair(before, after, "agreement", ".3f") if after[0].agreement is not None else "-",
        _pair(before, after, "loss", ".2g"),
        _pair(before, after, "sqnr_db", ".1f"),
        _pair(before, after, "layer_error", ".3f"),
        f"{_mean(after, 'mac_share'):.2f}",
        f"{_mean(after, 'bytes') / 1024:.1f}",
        f"{sum(row.accepted for row in after)}/{len(after)}",
    ]


def grouped_table(rows: Sequence[Any], cases: Sequence[str]) -> str:
    """Treatments of grouped layers, a row each."""
    lines = []
    for case in cases:
        for how, name in WAYS:
            found = _of(rows, case, how)
            if found and found[0].grouped_error is not None:
                lines.append([case, name, *_grouped(found)])
    return markdown_table(GROUPED_HEAD, lines)


def _grouped(found: Sequence[Any]) -> list[str]:
    known = found[0].accuracy is not None
    return [
        f"{_mean(found, 'accuracy'):.1%}" if known else "-",
        f"{_mean(found, 'agreement'):.3f}",
        f"{_mean(found, 'loss'):.2g}",
        f"{_mean(found, 'layer_error'):.3f}",
        f"{_mean(found, 'grouped_error'):.3f}",
        f"{_mean(found, 'bytes') / 1024:.1f}",
        f"{_mean(found, 'mac_share'):.2f}",
    ]


def _of(rows: Sequence[Any], case: str, how: str) -> list[Any]:
    return [row for row in rows if row.case == case and row.how == how]


def _mean(rows: Sequence[Any], name: str) -> float:
    return float(np.mean([getattr(row, name) for row in rows]))


def _pair(before: Sequence[Any], after: Sequence[Any], name: str, form: str) -> str:
    return f"{_mean(before, name):{form}} → {_mean(after, name):{form}}"
