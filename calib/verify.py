"""The verdict: whether new factors help, judged by samples that took no part in the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calib.layer_error import LayerError

SMALLEST_GAIN = 0.01
"""Relative: less than this is not worth a write to flash."""


@dataclass(frozen=True)
class Judgement:
    """How a chip with certain factors does on the held-back samples."""

    loss: float
    """Mean loss of the answers, judged by the float network's."""

    errors: Mapping[str, LayerError]

    @property
    def mean_error(self) -> float:
        """Mean relative error over the layers."""
        return float(np.mean([error.relative_error for error in self.errors.values()]))


@dataclass(frozen=True)
class Verdict:
    """Accept or refuse new factors, with the figures that decided."""

    accepted: bool
    reason: str
    before: Judgement
    after: Judgement


def judge(before: Judgement, after: Judgement) -> Verdict:
    """Accept only if the loss and the layer errors on held-back samples both improve."""
    return Verdict(*_reasoned(before, after), before, after)


def refused(before: Judgement, reason: str) -> Verdict:
    """Refuse to look for new factors at all."""
    return Verdict(False, f"{reason}: old factors kept", before, before)  # noqa: FBT003


def _reasoned(before: Judgement, after: Judgement) -> tuple[bool, str]:
    loss = f"the loss on held-back samples {_change(before.loss, after.loss)}"
    error = f"the mean layer error {_change(before.mean_error, after.mean_error)}"
    if not np.isfinite([after.loss, after.mean_error]).all():
        return False, "the chip's answers with new factors are not finite: old factors kept"
    if after.loss >= before.loss:
        return False, f"{loss}: old factors kept"
    if after.mean_error >= before.mean_error:
        return False, f"{error}: old factors kept"
    if after.mean_error >= before.mean_error * (1 - SMALLEST_GAIN):
        return False, f"{error}, less than {SMALLEST_GAIN:.0%} better: old factors kept"
    return True, f"{loss} and {error}"


def _change(before: float, after: float) -> str:
    if after == before:
        return f"stays at {after:.4g}"
    verb = "falls" if after < before else "rises" if after > before else "goes"
    return f"{verb} from {before:.4g} to {after:.4g}"
