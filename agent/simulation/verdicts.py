"""What one figure says of a chip at an age: how much of the float network it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACCURACY, AGREEMENT, FIDELITY = "accuracy", "agreement", "fidelity"


@dataclass(frozen=True)
class Measure:
    """How answers become a recovery, 1 for a chip that is as good as the float network."""

    name: str
    """`accuracy`: over that of the float network. Without labels `agreement` with its classes.
    Without classes `fidelity`: 1 less the answer's error power over its power, from the mean SQNR.
    """

    float_accuracy: float | None
    limit: float
    """Recovery of a good chip, at least."""

    @classmethod
    def of(cls, float_accuracy: float | None, limit: float, *, classes: bool) -> Measure:
        """The measure that samples allow."""
        name = ACCURACY if float_accuracy is not None else AGREEMENT if classes else FIDELITY
        return cls(name, float_accuracy, limit)

    def recovery(self, score: Mapping[str, float | None]) -> float:
        """Of answers; those that are not finite have none."""
        if self.name == ACCURACY:
            return (score["accuracy"] or 0.0) / (self.float_accuracy or 1.0)
        if self.name == AGREEMENT:
            return score["agreement"] or 0.0
        sqnr_db = score["output_sqnr_db"]
        return 0.0 if sqnr_db is None else max(1.0 - 10 ** (-sqnr_db / 10), 0.0)

    def is_good(self, score: Mapping[str, float | None]) -> bool:
        """Whether a chip with these answers is worth shipping."""
        return self.recovery(score) >= self.limit


def worst_layer(age: Mapping[str, Any]) -> str:
    """The layer that hurts most, before a calibration: by its share, else by its error."""
    layers = age["layers"]
    by = "error_before" if any(layer["share"] is None for layer in layers) else "share"
    # No finite error is the worst of errors.
    worst = max(layers, key=lambda layer: float("inf") if layer[by] is None else layer[by])
    return str(worst["name"])
