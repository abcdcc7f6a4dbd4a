"""What a caller asks to be answered, as the network takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agent.errors import InputError

Float32 = NDArray[np.float32]


def as_samples(x: ArrayLike, shape: tuple[int, ...]) -> tuple[Float32, bool]:
    """Samples [n, ...] as float32, and whether it was a single one without that axis.

    Args:
        x: one sample, or any number of them behind each other; any numeric type.
        shape: of one sample.

    Raises:
        InputError: no sample, another shape, no numbers, or numbers that are not finite.
    """
    given = np.asarray(x)
    if given.dtype.kind not in "biuf":
        raise InputError(f"an input has the type {given.dtype}; give whole or real numbers")
    single = given.shape == shape
    if not single and given.shape[1:] != shape:
        wanted = list(shape)
        raise InputError(
            f"an input has the shape {list(given.shape)}, the network takes {wanted}, or [n, "
            f"{str(wanted)[1:]} of n samples"
        )
    if not given.size:
        raise InputError("an input holds no sample")
    samples = _float32(given[None] if single else given)
    if not np.isfinite(samples).all():
        raise InputError("an input holds NaN, infinity or a value beyond float32; leave it out")
    return samples, single


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # what overflows is found behind it
def _float32(values: NDArray[Any]) -> Float32:
    return np.ascontiguousarray(values, np.float32)
