"""What is normal, learnt from few rounds, and how far from it a round is, in standard scores.

After a calibration nobody knows the mean or the spread of the canaries' figures, and a handful of
rounds tells them badly: a chart with estimated parameters has false alarms many times too often
(Jones, Champ and Rigdon, Technometrics 43, 2001). So charts are fed self-starting scores (Hawkins,
The Statistician 36, 1987; Hawkins and Olwell, Cumulative Sum Charts, 1998, chapter 7): with the
mean x̄ and the deviation s of the n rounds before, T = (x - x̄) / (s √(1 + 1/n)) has Student's
distribution with n - 1 degrees of freedom, and turned into the normal score of the same probability
it is standard normal and independent of all earlier ones, whatever the unknown parameters are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SMALLEST_SPREAD = 0.002
"""Of a logarithm: 0.2 % of an error. A chip without read noise is not judged more finely."""

LARGEST_SCORE = 30.0
"""Beyond this, more says nothing more."""


@dataclass(frozen=True)
class Normal:
    """Sums over the rounds that were normal."""

    rounds: int
    mean: Float64
    """[signals]"""

    squares: Float64
    """[signals]: summed squared deviations from the mean."""

    products: Float64
    """[signals, signals]: summed products of the scores."""

    scored: int = 0
    """Rounds in `products`."""

    @classmethod
    def unknown(cls, size: int) -> Normal:
        """Nothing is known yet."""
        return cls(0, np.zeros(size), np.zeros(size), np.zeros((size, size)))

    def learn(self, values: Float64, scores: Float64 | None = None) -> Normal:
        """Take a round in: its values [signals], and their scores where there were any.

        Welford's update (Technometrics 4, 1962): nothing is lost to large means.
        """
        rounds = self.rounds + 1
        off = values - self.mean
        mean = self.mean + off / rounds
        found = replace(
            self, rounds=rounds, mean=mean, squares=self.squares + off * (values - mean)
        )
        if scores is None:
            return found
        products = self.products + scores[:, None] * scores
        return replace(found, products=products, scored=self.scored + 1)

    def scores(self, values: Float64, tolerated: float) -> Float64:
        """Standard scores of a round [signals]; of deviations only what is beyond the tolerated.

        With nothing tolerated they are standard normal where nothing has changed; else smaller.
        """
        off = values - self.mean
        off = np.sign(off) * np.maximum(np.abs(off) - tolerated, 0.0)
        freedom = max(self.rounds - 1, 1)
        spread = np.maximum(np.sqrt(self.squares / freedom), SMALLEST_SPREAD)
        return normal_scores(off / (spread * np.sqrt(1 + 1 / max(self.rounds, 1))), freedom)

    def whitener(self, count: int) -> Float64:
        """The map [count, count] that makes the first `count` scores independent.

        Their correlations are shrunk towards none, the more the less is known: the shrinkage of
        Schäfer and Strimmer, Statistical Applications in Genetics and Molecular Biology 4, 2005,
        section 2.4, with the large-sample variance (1 - r²)² / n of a correlation r.
        """
        if self.scored < 2 or count < 2:
            return np.eye(count)
        products = self.products[:count, :count]
        scale = np.sqrt(np.maximum(np.diagonal(products), 1e-12))
        found = products / (scale[:, None] * scale)
        apart = ~np.eye(count, dtype=bool)
        squares = float((found[apart] ** 2).sum())
        variances = float(((1 - np.minimum(found[apart] ** 2, 1)) ** 2).sum()) / self.scored
        shrinkage = min(max(variances / max(squares, 1e-12), 0.02), 1.0)
        shrunk = np.where(apart, (1 - shrinkage) * found, 1.0)
        return np.asarray(np.linalg.inv(np.linalg.cholesky(shrunk)))

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "rounds": self.rounds,
            "mean": self.mean.tolist(),
            "squares": self.squares.tolist(),
            "products": self.products.tolist(),
            "scored": self.scored,
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Normal:
        """The inverse of `document`."""
        mean, squares, products = (
            np.array(document[name], float) for name in ("mean", "squares", "products")
        )
        return cls(int(document["rounds"]), mean, squares, products, int(document["scored"]))


def normal_scores(values: Float64, freedom: int) -> Float64:
    """The normal score of the same probability as Student's t, to 0.02.

    Wallace, Annals of Mathematical Statistics 30, 1959, with f degrees of freedom:
    z = ± (8 f + 1) / (8 f + 3) √(f ln(1 + t² / f)).
    """
    within = np.minimum(np.abs(values), 1e6)
    found = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(within**2 / freedom))
    return np.asarray(np.sign(values) * np.minimum(found, LARGEST_SCORE))
