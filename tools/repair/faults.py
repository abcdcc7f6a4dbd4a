"""What goes wrong on a digital target: the input domain moves, or bits of the weights flip."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from calib.packed import PackedNetwork
from calib.schemes.weights import QuantisedWeights

Float32 = NDArray[np.float32]

CEPSTRUM_PER_DECIBEL = float(np.log(10) / 10 * np.sqrt(40))
"""What a decibel adds to the first cepstral coefficient: every log energy of 40 mel bands rises by
ln(10)/10, and an orthonormal cosine transform of equal values has √40 times the value first. An
assumption about how the keywords' inputs were computed, which their file does not say."""


@dataclass(frozen=True)
class Domain:
    """How the inputs that a network was packed with relate to those of the field."""

    name: str
    packed_with: Callable[[Float32], Float32]
    field: Callable[[Float32], Float32]


def _same(x: Float32) -> Float32:
    return x


def exposure(factor: float) -> Callable[[Float32], Float32]:
    """Images 0..255 as a camera with so much more light gives them, clipped."""
    return lambda x: np.clip(x * np.float32(factor), 0, 255)


def contrast(factor: float) -> Callable[[Float32], Float32]:
    """Images 0..255 spread about their middle, clipped."""
    return lambda x: np.clip((x - 128) * np.float32(factor) + 128, 0, 255)


def jpeg(quality: int) -> Callable[[Float32], Float32]:
    """Images 0..255 [n, height, width, 3] as JPEG files of this quality give them back."""

    def through_file(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        held = io.BytesIO()
        Image.fromarray(image).save(held, "JPEG", quality=quality)
        return np.asarray(Image.open(held))

    return lambda x: np.stack([through_file(one) for one in x.astype(np.uint8)]).astype(np.float32)


def gain(decibels: float) -> Callable[[Float32], Float32]:
    """Cepstra [n, frames, coefficients, 1] behind a microphone with so much more gain."""

    def louder(x: Float32) -> Float32:
        moved = x.copy()
        moved[:, :, 0] += np.float32(decibels * CEPSTRUM_PER_DECIBEL)
        return moved

    return louder


DOMAINS = {
    "cifar10": (
        Domain("as packed", _same, _same),
        Domain("exposure 2 times", _same, exposure(2)),
        Domain("exposure 0.3 times", _same, exposure(0.3)),
        Domain("contrast 2 times", _same, contrast(2)),
        Domain("JPEG of quality 10", _same, jpeg(10)),
        Domain("packed on images 0.4 times as bright", exposure(0.4), _same),
        Domain("packed on images 0.15 times as bright", exposure(0.15), _same),
    ),
    "kws": (
        Domain("as packed", _same, _same),
        Domain("microphone gain +12 dB", _same, gain(12)),
        Domain("microphone gain -12 dB", _same, gain(-12)),
        Domain("microphone gain +20 dB", _same, gain(20)),
    ),
}
"""By data set."""


def flipped(network: PackedNetwork, rate: float, generator: np.random.Generator) -> PackedNetwork:
    """The network as a memory holds it in which every bit of a code has flipped at this rate.

    Codes of 4 bits are 4 bits in memory; of a codebook, the index.
    """
    weights = {name: _flipped_codes(one, rate, generator) for name, one in network.weights.items()}
    return replace(network, weights=weights)


def _flipped_codes(
    weights: QuantisedWeights, rate: float, generator: np.random.Generator
) -> QuantisedWeights:
    hit = generator.random((*weights.codes.shape, weights.bits)) < rate
    mask = (hit * (1 << np.arange(weights.bits))).sum(axis=-1).astype(np.uint8)
    stored = weights.codes.astype(np.uint8) & np.uint8(2**weights.bits - 1)
    changed = (stored ^ mask).astype(np.int16)
    if weights.codebook is None:
        changed -= (changed >= 2 ** (weights.bits - 1)) * 2**weights.bits
    return replace(weights, codes=changed.astype(weights.codes.dtype))
