"""The error function, vectorised; NumPy has none."""

from __future__ import annotations

import numpy as np

from calib.graph.model import Array

# Rational Chebyshev approximations of W. J. Cody, "Rational Chebyshev approximations for the
# error function", Mathematics of Computation 23 (1969) 631-637: erf(x) = x A(x²)/B(x²) for
# |x| <= 0.46875 and erfc(x) = exp(-x²) C(x)/D(x) beyond. Lowest power first. Cody's third range,
# |x| > 4, is not needed: erfc is below 2e-8 there, and C/D still good enough for erf.
_NEAR_NUMERATOR = (
    3.20937758913846947e03,
    3.77485237685302021e02,
    1.13864154151050156e02,
    3.16112374387056560e00,
    1.85777706184603153e-01,
)
_NEAR_DENOMINATOR = (
    2.84423683343917062e03,
    1.28261652607737228e03,
    2.44024637934444173e02,
    2.36012909523441209e01,
    1.0,
)
_FAR_NUMERATOR = (
    1.23033935479799725e03,
    2.05107837782607147e03,
    1.71204761263407058e03,
    8.81952221241769090e02,
    2.98635138197400131e02,
    6.61191906371416295e01,
    8.88314979438837594e00,
    5.64188496988670089e-01,
    2.15311535474403846e-08,
)
_FAR_DENOMINATOR = (
    1.23033935480374942e03,
    3.43936767414372164e03,
    4.36261909014324716e03,
    3.29079923573345963e03,
    1.62138957456669019e03,
    5.37181101862009858e02,
    1.17693950891312499e02,
    1.57449261107098347e01,
    1.0,
)
_NEAR = 0.46875
_SATURATED = 6.0
"""From here on erf is one, to the last bit of a float64."""


@np.errstate(under="ignore")
def erf(x: Array) -> Array:
    """The error function, to within 1e-15; calculated in float64, returned in x's type."""
    precise = x.astype(np.float64)
    size = np.minimum(np.abs(precise), _SATURATED)
    inner = np.minimum(size, _NEAR)
    near = inner * _ratio(inner * inner, _NEAR_NUMERATOR, _NEAR_DENOMINATOR)
    far = 1.0 - np.exp(-size * size) * _ratio(size, _FAR_NUMERATOR, _FAR_DENOMINATOR)
    return np.copysign(np.where(size <= _NEAR, near, far), precise).astype(x.dtype)


def _ratio(x: Array, numerator: tuple[float, ...], denominator: tuple[float, ...]) -> Array:
    return _polynomial(x, numerator) / _polynomial(x, denominator)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    result = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result *= x
        result += coefficient
    return result
