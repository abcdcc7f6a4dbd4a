"""What is normal, learnt from few rounds, and how far from it a round is, in standard scores.

After a calibration nobody knows the mean or the spread of the canaries' figures, and a handful of
rounds tells them badly: a chart with estimated parameters has false alarms many times too often
(Jones, Champ and Rigdon, Technometrics 43, 2001). So charts are fed self-starting scores (Hawkins,
The Statistician 36, 1987; Hawkins and Olwell, Cumulative Sum Charts, 1998, chapter 7): with the
mean x̄ and the deviation s of the n rounds before, T = (x - x̄) / (s √(1 + 1/n)) has Student's
distribution with n - 1 degrees of freedom, and turned into the normal score of the same probability
it is standard normal and independent of all earlier ones, whatever the unknown parameters are.

Of a vector the same is done part by part, each given the parts before it (Hawkins and Maboudou-
Tchao, Technometrics 49, 2007): the scores are independent, whatever the correlations are. With
S = L Lᵀ the summed products of deviations and w = L⁻¹ (x - x̄), part j, from 1, has
T = w_j √(n - j) / √(1 + 1/n + Σ_{i<j} w_i²), with n - j degrees of freedom; a part for which there
are too few rounds yet scores zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SMALLEST_SPREAD = 0.002
"""Of a logarithm: 0.2 % of an error. A chip without read noise is not judged more finely."""

LEAST_FREEDOM = 3
"""Degrees of freedom below which a part is not judged."""

LARGEST_SCORE = 30.0
"""Beyond this, more says nothing more."""


@dataclass(frozen=True)
class Normal:
    """Sums over the rounds that were normal."""

    rounds: int
    mean: Float64
    """[signals]"""

    products: Float64
    """[signals, signals]: summed products of deviations from the mean."""

    @classmethod
    def unknown(cls, size: int) -> Normal:
        """Nothing is known yet."""
        return cls(0, np.zeros(size), np.zeros((size, size)))

    def learn(self, values: Float64) -> Normal:
        """Take a round in: its values [signals].

        Welford's update (Technometrics 4, 1962): nothing is lost to large means.
        """
        rounds = self.rounds + 1
        off = values - self.mean
        mean = self.mean + off / rounds
        return Normal(rounds, mean, self.products + off[:, None] * (values - mean))

    def off(self, values: Float64, tolerated: float | Float64) -> Float64:
        """Deviations of values [signals] from the mean: of each only what is not tolerated."""
        off = values - self.mean
        return np.asarray(np.sign(off) * np.maximum(np.abs(off) - tolerated, 0.0))

    def scores(self, off: Float64) -> Float64:
        """Standard scores of deviations [signals], each by itself."""
        freedom, n = max(self.rounds - 1, 1), max(self.rounds, 1)
        spread = np.sqrt(self.spread2() * (1 + 1 / n))
        return normal_scores(off / spread, np.full(len(off), freedom))

    def joint_scores(self, off: Float64, samples: int = 1) -> Float64:
        """Independent standard scores of the first deviations [some], each given those before.

        Args:
            off: deviations, of one round or of the mean of several.
            samples: of how many.
        """
        count, n = len(off), max(self.rounds, 2)
        products = self.products[:count, :count] + np.eye(count) * (n - 1) * SMALLEST_SPREAD**2
        within = np.linalg.solve(np.linalg.cholesky(products), off)
        before = np.cumsum(within**2) - within**2
        freedom = n - 1 - np.arange(count)
        known = freedom >= LEAST_FREEDOM
        freedom = np.maximum(freedom, LEAST_FREEDOM)
        found = within * np.sqrt(freedom / (1 / samples + 1 / n + before))
        return np.where(known, normal_scores(found, freedom), 0.0)

    def spread2(self) -> Float64:
        """Variances [signals]; none below the smallest that is believed."""
        freedom = max(self.rounds - 1, 1)
        return np.asarray(np.maximum(np.diagonal(self.products) / freedom, SMALLEST_SPREAD**2))

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        lists = {"mean": self.mean.tolist(), "products": self.products.tolist()}
        return {"rounds": self.rounds, **lists}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Normal:
        """The inverse of `document`."""
        mean, products = (np.array(document[name], float) for name in ("mean", "products"))
        return cls(int(document["rounds"]), mean, products)


@np.errstate(under="ignore")  # the square of next to nothing
def normal_scores(values: Float64, freedom: NDArray[np.integer]) -> Float64:
    """The normal score of the same probability as Student's t, to 0.02.

    Wallace, Annals of Mathematical Statistics 30, 1959, with f degrees of freedom:
    z = ± (8 f + 1) / (8 f + 3) √(f ln(1 + t² / f)).
    """
    within = np.minimum(np.abs(values), 1e6)
    found = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(within**2 / freedom))
    return np.asarray(np.sign(values) * np.minimum(found, LARGEST_SCORE))
