"""The random numbers of `np.random.default_rng(seed).random`, without NumPy's module for them.

Which positions of a sample are looked at follows from a bundle's seed, on every board that opens
it. That is all that a service which answers draws; `numpy.random`, with the OpenSSL that it brings,
takes nearly seven megabytes. So these few lines make the same numbers:

- a seed becomes a state by NumPy's `SeedSequence` (M. O'Neill, "Simple portable C++ seed entropy",
  2015): words mixed into a pool of four, and the pool into the words of the state,
- the state goes on as in PCG XSL RR 128/64 (M. O'Neill, "PCG: A family of simple fast
  space-efficient statistically good algorithms for random number generation", HMC-CS-2014-0905,
  2014, section 6.3), s ← s·a + c modulo 2¹²⁸, many steps at once: sᵢ = s·aⁱ + c·(aⁱ⁻¹ + … + 1),
- 53 bits of each output are a number from 0 to below 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
_128_BITS, _64_BITS, _32_BITS = 2**128 - 1, 2**64 - 1, 2**32 - 1
_STEPS = 2048
"""At once."""

_HALF, _LOW_HALF = np.uint64(32), np.uint64(_32_BITS)


class UniformNumbers:
    """Draws numbers from 0 to below 1, always the same ones for a seed.

    Args:
        seed: at least 0 and below 2¹²⁸.
    """

    def __init__(self, seed: int) -> None:
        """Nothing has been drawn yet."""
        words = _seed_words(seed)
        start, stream = (words[0] << 64) | words[1], (words[2] << 64) | words[3]
        self._increment = (stream << 1 | 1) & _128_BITS
        self._state = self._after(self._increment + start)
        self._powers, self._sums = _steps(self._increment)

    def random(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The next numbers, in the order of the array's memory."""
        made = np.empty(math.prod(shape))
        for begin in range(0, made.size, _STEPS):
            part = made[begin : begin + _STEPS]
            part[:] = self._next(part.size)
        return made.reshape(shape)

    def _next(self, count: int) -> NDArray[np.float64]:
        states = _Wide.of([self._state]).times(self._powers.first(count))
        states = states.plus(self._sums.first(count))
        self._state = (int(states.high[-1]) << 64) | int(states.low[-1])
        mixed, turn = states.high ^ states.low, states.high >> np.uint64(58)
        outputs = (mixed >> turn) | (mixed << ((np.uint64(64) - turn) & np.uint64(63)))
        return np.asarray((outputs >> np.uint64(11)) * 2.0**-53, np.float64)

    def _after(self, state: int) -> int:
        return (state * _MULTIPLIER + self._increment) & _128_BITS


@dataclass(frozen=True)
class _Wide:
    """Whole numbers of 128 bits, [n] each half; arithmetic modulo 2¹²⁸."""

    high: Words
    low: Words

    @classmethod
    def of(cls, numbers: list[int]) -> _Wide:
        high = np.array([number >> 64 for number in numbers], np.uint64)
        return cls(high, np.array([number & _64_BITS for number in numbers], np.uint64))

    def first(self, count: int) -> _Wide:
        return _Wide(self.high[:count], self.low[:count])

    def plus(self, other: _Wide) -> _Wide:
        low = self.low + other.low
        return _Wide(self.high + other.high + (low < self.low), low)

    def times(self, other: _Wide) -> _Wide:
        ours, ours_high = self.low & _LOW_HALF, self.low >> _HALF
        theirs, theirs_high = other.low & _LOW_HALF, other.low >> _HALF
        small, one, two = ours * theirs, ours * theirs_high, ours_high * theirs
        middle = (small >> _HALF) + (one & _LOW_HALF) + (two & _LOW_HALF)
        carried = ours_high * theirs_high + (one >> _HALF) + (two >> _HALF) + (middle >> _HALF)
        high = carried + self.low * other.high + self.high * other.low
        return _Wide(high, self.low * other.low)


def _steps(increment: int) -> tuple[_Wide, _Wide]:
    """For 1, 2, … steps: what a state is multiplied by, and what is added then."""
    power, added = 1, 0
    powers, sums = [], []
    for _ in range(_STEPS):
        power = power * _MULTIPLIER & _128_BITS
        added = (added * _MULTIPLIER + increment) & _128_BITS
        powers.append(power)
        sums.append(added)
    return _Wide.of(powers), _Wide.of(sums)


def _seed_words(seed: int) -> list[int]:
    """Four words of 64 bits, as `np.random.SeedSequence(seed)` generates them."""
    constant = 0x43B0D7E5

    def hashed(word: int) -> int:
        nonlocal constant
        word ^= constant
        constant = constant * 0x931E8875 & _32_BITS
        word = word * constant & _32_BITS
        return word ^ word >> 16

    pool = [hashed(seed >> 32 * i & _32_BITS) for i in range(4)]
    for source in range(4):
        for target in range(4):
            if target != source:
                mixed = 0xCA01F9DD * pool[target] - 0x4973F715 * hashed(pool[source]) & _32_BITS
                pool[target] = mixed ^ mixed >> 16
    constant, halves = 0x8B51F9DD, []
    for i in range(8):
        word = pool[i % 4] ^ constant
        constant = constant * 0x58F38DED & _32_BITS
        word = word * constant & _32_BITS
        halves.append(word ^ word >> 16)
    return [halves[2 * i] | halves[2 * i + 1] << 32 for i in range(4)]
