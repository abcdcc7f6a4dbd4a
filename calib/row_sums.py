"""Sums of rows, kept as rows while these are few: means, variances, covariances.

Rows x [size] may carry others beside them, e [extra], for a regression of e on x. Few rows stay as
they are (the dual form of a regression needs no more); once there are more of them than inputs,
they are folded into their Gram matrices. So memory is O(min(n, d) d). Rows longer than
`LARGEST_GRAM` are never folded: at most as many rows are kept, spread evenly over all that came.

Products are of the rows' own precision, unless `double` asks for float64. What K rows of float32
make of it differs from the true sum by at most (K + 3) 2⁻²⁴ √(Gᵢᵢ Gⱼⱼ), whatever the order of
summation (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, sec. 3.1); with the
2,048 rows of a fold that is 1.3e-4, and 1e-6 is what is seen. Folds are added up in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Rows = NDArray[np.floating]

LARGEST_GRAM = 1536
"""Inputs of the longest rows that get a Gram matrix (18 MiB); also rows that are kept of others."""

COLUMNS = 256
"""Of long arrays, in a product at once."""

FEWEST_FOLDED = 512
"""Rows that are kept as they are in any case: they choose how much a regression is smoothed."""


@dataclass
class RowSums:
    """Accumulates blocks of rows [n, size + extra]."""

    size: int
    extra: int = 0
    double: bool = False
    count: int = 0
    """Rows that take part."""

    _shift: Float64 | None = None
    _sum: Float64 = field(init=False)
    _waiting: list[Rows] = field(default_factory=list)
    _folded: Grams | None = None
    _first: Rows | None = None
    _stride: int = 1
    _seen: int = 0
    _settled: bool = False

    def __post_init__(self) -> None:
        """Start from nothing."""
        self._sum = np.zeros(self.size + self.extra)

    @np.errstate(under="ignore")  # next to others, such a number is zero
    def add(self, rows: Rows) -> None:
        """Add rows."""
        if not len(rows):
            return
        if self._shift is None:
            self._shift = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype).astype(np.float64)
        kept = rows[-self._seen % self._stride :: self._stride]
        self._seen += len(rows)
        centred = kept - self._shift.astype(rows.dtype)  # so that centring later cancels no digits
        self._waiting.append(centred)
        self._settled = False
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self.count += len(kept)
        self._make_room()

    def _make_room(self) -> None:
        waiting = sum(map(len, self._waiting))
        if self.size > LARGEST_GRAM and waiting > LARGEST_GRAM:
            rows = np.concatenate(self._waiting)[::2].copy()
            self._waiting, self.count, self._stride = [rows], len(rows), 2 * self._stride
            self._sum = rows.sum(axis=0, dtype=np.float64)
        elif self.size <= LARGEST_GRAM and waiting > max(self.size, FEWEST_FOLDED):
            self._fold()

    def _fold(self) -> None:
        rows = np.concatenate(self._waiting)
        self._waiting = []
        if self._first is None:
            self._first = rows[:: -(-len(rows) // FEWEST_FOLDED)].copy()
        new = grams_of(rows.astype(np.float64) if self.double else rows, self.size)
        self._folded = new if self._folded is None else self._folded.plus(new)

    @property
    def folded(self) -> bool:
        """Whether there were more rows than are kept."""
        return self._folded is not None

    def mean(self) -> Float64:
        """Of all rows: [size + extra]."""
        return self._sum / self.count + (0.0 if self._shift is None else self._shift)

    def rows(self) -> Rows:
        """All rows where they are kept, else some, about their mean: [n, size + extra]."""
        if self._first is not None:
            return _centred(self._first)
        if not self._settled:
            rows = np.concatenate(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
            self._waiting = [rows]
            self._move(rows)
        return self._waiting[0]

    @np.errstate(under="ignore")
    def _move(self, rows: Rows) -> None:
        """Remember the rows that are kept about their mean, in their place."""
        step = (self._sum / self.count).astype(rows.dtype)
        rows -= step
        self._shift = step.astype(np.float64) + (0.0 if self._shift is None else self._shift)
        self._sum -= self.count * step.astype(np.float64)
        self._settled = True

    def grams(self) -> Grams:
        """Of all rows about their mean, divided by their number."""
        if self._waiting and self.folded:
            self._fold()
        if self._folded is None:
            rows = self.rows()
            sums = grams_of(rows.astype(np.float64) if self.double else rows, self.size)
            return sums.means(self.count, np.zeros_like(self._sum), sums)
        fresh = Grams(*map(np.empty_like, self._folded.parts()))
        return self._folded.means(self.count, self._sum / self.count, fresh)

    def variances(self) -> Float64:
        """Of all rows x: [size]."""
        if self.folded:
            return np.diagonal(self.grams().xx).copy()
        with np.errstate(under="ignore"):
            x = self.rows()[:, : self.size]
            return np.asarray(np.einsum("ij,ij->j", x, x, dtype=np.float64) / len(x))

    def covariance(self) -> Float64:
        """Of all rows x: [size, size]."""
        return self.grams().xx


@dataclass(frozen=True)
class Grams:
    """Sums of products: x with x [d, d], x with e [d, k], e with e [k, k]."""

    xx: Float64
    xe: Float64
    ee: Float64

    def plus(self, other: Grams) -> Grams:
        """The sums of both, in the place of the first."""
        for mine, theirs in zip(self.parts(), other.parts(), strict=True):
            np.add(mine, theirs, out=mine)
        return self

    def means(self, count: int, mean: Float64, into: Grams) -> Grams:
        """Mean products of so many rows about their mean [d + k], in the place of `into`."""
        x, e = mean[: len(self.xx)], mean[len(self.xx) :]
        sides = ((x, x), (x, e), (e, e))
        for mine, theirs, (left, right) in zip(self.parts(), into.parts(), sides, strict=True):
            np.divide(mine, count, out=theirs)
            for start in range(0, len(left), COLUMNS):
                some = slice(start, start + COLUMNS)
                theirs[some] -= np.outer(left[some], right)
        return into

    def parts(self) -> tuple[Float64, Float64, Float64]:
        """All three."""
        return self.xx, self.xe, self.ee


@np.errstate(under="ignore")
def grams_of(rows: Rows, size: int) -> Grams:
    """Sums of products of rows [n, size + extra]."""
    x, e = rows[:, :size], rows[:, size:]
    return Grams(*(np.asarray(part, np.float64) for part in (x.T @ x, x.T @ e, e.T @ e)))


@np.errstate(under="ignore")
def _centred(rows: Rows) -> Rows:
    return np.asarray(rows - rows.mean(axis=0, dtype=np.float64).astype(rows.dtype))


@dataclass(frozen=True)
class RowCovariance:
    """A covariance that is never multiplied out: rowsᵀ rows / n plus a diagonal.

    Stands in products with arrays, as a [d, d] array would.
    """

    rows: Rows
    """[n, d], about their mean."""

    diagonal: Float64
    """[d]"""

    __array_ufunc__ = None
    """NumPy's arrays leave products to the methods below."""

    @property
    def shape(self) -> tuple[int, int]:
        """As an array's."""
        return len(self.diagonal), len(self.diagonal)

    @np.errstate(under="ignore")
    def __matmul__(self, right: Float64) -> Float64:
        """The covariance times an array [d, k], a few columns at a time."""
        product = np.empty(right.shape)
        for start in range(0, right.shape[1], COLUMNS):
            some = slice(start, start + COLUMNS)
            seen = self.rows @ right[:, some].astype(self.rows.dtype)
            product[:, some] = self.rows.T @ seen / self.rows.dtype.type(len(self.rows))
            product[:, some] += self.diagonal[:, None] * right[:, some]
        return product

    def __rmatmul__(self, left: Float64) -> Float64:
        """An array [k, d] times the covariance."""
        return (self @ left.T).T


Covariance = Float64 | RowCovariance
