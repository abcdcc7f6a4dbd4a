"""Ridge regression whose smoothing is chosen by leaving rows out, one at a time, in closed form.

Of e on x, both about their means, for the penalty p on squared coefficients: one decomposition
X = U Σ Vᵀ gives the fit and every row's leverage for all penalties,

    H = U diag(w / (w + p)) Uᵀ,   w = σ²,   row i left out is missed by eᵢ / (1 − hᵢᵢ − 1/n),

the mean's own leverage 1/n included (D. Allen, Technometrics 16, 1974). The smaller of X Xᵀ and
Xᵀ X is decomposed. Noise over prior variance is what the best penalty estimates: it does not depend
on how many rows there are, so a few hundred of them choose it for all.

Coefficients are deviations of cells, alike in all of them, so the penalty is the same for all
inputs, unless these have other units: an input that varies little beside the mean is penalised by
its own variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calib.row_sums import Float64, Grams, Rows, RowSums

PENALTIES = 10.0 ** np.arange(1.0, -6.1, -0.5)
"""Relative to the inputs' variance, for each row; of penalties alike the largest is taken."""

PROJECTIONS = 16
"""Random combinations of the outputs that stand for all of them where there are more."""

TRACE_PROBES = 8
"""Vectors of random signs that estimate the trace of a matrix (M. Hutchinson, Communications in
Statistics 18, 1989), for what a few more right-hand sides cost."""

UNIT_RANGE = 100.0
"""How far below the mean an input's variance may lie before it counts as another unit."""

MOST_LEFT_OUT = 512
"""Rows that are left out in turn, spread over all: they choose the penalty, all are fitted."""

COLUMNS = 512
"""Inputs that are copied to float64 at a time."""

_RANK_FLOOR = 1e-12
_SMALLEST_OPENNESS = 1e-9


@dataclass(frozen=True)
class Regression:
    """What is linear in x, and the rest."""

    penalty: float
    """Of squared coefficients, inputs in `units_of`; 0 where no input varies."""

    freedom: float
    """Effective degrees of freedom of each output: the trace of H (Hastie et al., The Elements of
    Statistical Learning, sec. 7.6)."""

    coefficients: Float64
    """[d, k]"""

    rest: Float64
    """[k, k]: covariance of what is left."""


def units_of(variances: Float64) -> Float64:
    """The variance that each input is measured by: the mean one, or 100 times its own if less."""
    if not len(variances) or not variances.max() > 0:
        return np.ones_like(variances)
    units = np.minimum(variances.mean(), UNIT_RANGE * variances)
    return np.asarray(np.where(units > 0, units, variances.mean()))


@np.errstate(under="ignore")  # next to others, such a number is zero
def regression(sums: RowSums, contrast: Float64) -> Regression:
    """Regress e on x.

    Args:
        sums: of rows x and e; at least one.
        contrast: [k, q]: the combinations of e that count when the penalty is chosen.
    """
    rows, d = sums.rows(), sums.size
    units = units_of(sums.variances())
    some = rows[:: -(-len(rows) // MOST_LEFT_OUT)]
    thin = _thin(some[:, :d] / np.sqrt(units))
    wanted = some[:, d:].astype(np.float64)
    if not len(thin.squares):
        rest = sums.grams().ee if sums.folded else rows[:, d:].T.astype(np.float64) @ rows[:, d:]
        return Regression(
            0.0, 0.0, np.zeros((d, sums.extra)), rest / (1 if sums.folded else len(rows))
        )
    penalty = _chosen(thin, wanted, contrast)
    if sums.folded:
        return _primal(sums.grams(), sums.count, units, penalty)
    if len(some) < len(rows):
        return _dual(rows, d, units, penalty)
    return _decomposed(thin, rows, d, units, penalty)


@dataclass(frozen=True)
class _Thin:
    """X = U Σ Vᵀ without V: left vectors [n, r] and squared singular values [r]."""

    left: Float64
    squares: Float64

    def kept(self, penalty: float) -> Float64:
        """What is left of each left vector: [r]."""
        return np.asarray(self.squares / (self.squares + penalty))


def _thin(x: Float64) -> _Thin:
    wide = len(x) <= x.shape[1]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    usable = squares > _RANK_FLOOR * max(squares.max(initial=0.0), 0.0)
    squares, vectors = squares[usable], vectors[:, usable]
    return _Thin(vectors if wide else x @ vectors / np.sqrt(squares), squares)


def _chosen(thin: _Thin, wanted: Float64, contrast: Float64) -> float:
    """The penalty, for squared coefficients of standard inputs, that misses rows left out least."""
    rows = len(wanted)
    if contrast.shape[1] > PROJECTIONS:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], (contrast.shape[1], PROJECTIONS))
        contrast = contrast @ signs
    e = wanted @ contrast
    seen, squared = thin.left.T @ e, thin.left**2
    missed = []
    for penalty in rows * PENALTIES:
        kept = thin.kept(penalty)
        left = e - thin.left @ (kept[:, None] * seen)
        openness = np.maximum(1 - squared @ kept - 1 / rows, _SMALLEST_OPENNESS)
        missed.append(float(((left / openness[:, None]) ** 2).sum()))
    return float(rows * PENALTIES[int(np.argmin(missed))])


def _decomposed(thin: _Thin, rows: Rows, d: int, units: Float64, penalty: float) -> Regression:
    e = rows[:, d:].astype(np.float64)
    seen, kept = thin.left.T @ e, thin.kept(penalty)
    weights = thin.left @ ((kept / thin.squares)[:, None] * seen)
    left = e - thin.left @ (kept[:, None] * seen)
    coefficients = _back(rows[:, :d], weights, units)
    return Regression(penalty, float(kept.sum()), coefficients, left.T @ left / len(rows))


def _dual(rows: Rows, d: int, units: Float64, penalty: float) -> Regression:
    """By (X Xᵀ + p) α = E: coefficients are Xᵀ α, and p α is what is left."""
    outer = _outer(rows[:, :d], units)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(rows), TRACE_PROBES))
    seen = outer @ signs
    outer[np.diag_indices(len(rows))] += penalty
    solved = np.linalg.solve(outer, np.hstack([rows[:, d:], signs]))
    weights, traced = solved[:, :-TRACE_PROBES], solved[:, -TRACE_PROBES:]
    freedom = float(np.vdot(seen, traced)) / TRACE_PROBES
    rest = penalty**2 * (weights.T @ weights) / len(rows)
    return Regression(penalty, freedom, _back(rows[:, :d], weights, units), rest)


def _primal(grams: Grams, count: int, units: Float64, penalty: float) -> Regression:
    d, roots = len(grams.xx), np.sqrt(units)
    xx, xe = grams.xx / np.outer(roots, roots), grams.xe / roots[:, None]
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (d, TRACE_PROBES))
    seen = xx @ signs
    xx[np.diag_indices(d)] += penalty / count
    solved = np.linalg.solve(xx, np.hstack([xe, signs]))
    standard, traced = solved[:, :-TRACE_PROBES], solved[:, -TRACE_PROBES:]
    freedom = float(np.vdot(seen, traced)) / TRACE_PROBES
    coefficients = standard / roots[:, None]
    explained = standard.T @ xe
    rest = grams.ee + coefficients.T @ (grams.xx @ coefficients) - explained - explained.T
    return Regression(penalty, freedom, coefficients, rest)


def _outer(x: Rows, units: Float64) -> Float64:
    """X Xᵀ in standard units, a few columns in float64 at a time."""
    product = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], COLUMNS):
        some = slice(start, start + COLUMNS)
        standard = x[:, some] / np.sqrt(units[some])
        product += standard @ standard.T
    return product


def _back(x: Rows, weights: Float64, units: Float64) -> Float64:
    """Coefficients [d, k] of x as it is, from weights [n, k] of rows in standard units."""
    coefficients = np.empty((x.shape[1], weights.shape[1]))
    for start in range(0, x.shape[1], COLUMNS):
        some = slice(start, start + COLUMNS)
        np.matmul(x[:, some].T.astype(np.float64), weights, out=coefficients[some])
    coefficients /= units[:, None]
    return coefficients
