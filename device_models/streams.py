"""Random streams of a chip: one for each layer and each effect, independent of everything else.

The entropy of a stream is the chip's seed followed by a hash of the layer's name and of the
effect's tag, so that no order of programming, no other layer and no other effect can shift it.
The figures themselves are those of NumPy's PCG64; a test holds one of them fast.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def stream(seed: int, layer: str, effect: str) -> np.random.Generator:
    """The generator of one static effect in one layer of one chip."""
    digest = hashlib.sha256(f"{effect}\0{layer}".encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *words))))


def normals(seed: int, layer: str, effect: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal figures of one static effect: always the same for the same arguments."""
    return stream(seed, layer, effect).standard_normal(shape, dtype=np.float32)
