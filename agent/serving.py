"""The model that answers, and how it is exchanged while it does.

New factors are loaded beside the old ones, answer a few samples as they should, and only then take
over, by one assignment. A request looks once at what is in use and stays with it, so that each is
answered exactly once, by the old factors or by the new ones, and never waits for a swap. Whatever
goes wrong on the way leaves the old ones in use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent.runtimes.base import Answer, Float32, Runtime
from calib.factors import Factors
from calib.packed import PackedNetwork
from calib.references import held_back_indices

CHECK_SAMPLES = 2
LEAST_TOLERANCE = 1e-3
"""Relative; the same graph in the same runtime gives the same answers, or nearly."""

NOISE_FACTOR = 8.0
"""How many times the difference of two runs of a noisy chip a third one may be away."""


@dataclass(frozen=True)
class Check:
    """What a model has to answer before it is used."""

    samples: Float32
    """[n, ...]"""

    answers: Float32
    """[n, ...]: of the loop's runtime with the same factors."""

    tolerance: float
    """Of the relative error of all answers together."""

    def problem(self, answer: Answer) -> str | None:
        """What is wrong with a model's answers; None where nothing is."""
        found = np.asarray(answer(self.samples))
        if found.shape != self.answers.shape:
            return (
                f"answers of shape {list(found.shape)} came where {list(self.answers.shape)} was "
                "expected"
            )
        if not np.isfinite(found).all():
            return "its answers are not finite"
        away = _relative(found, self.answers)
        if away > self.tolerance:
            return (
                f"its answers are {away:.2g} off those that the factors were judged by, more than "
                f"{self.tolerance:.2g}"
            )
        return None


@dataclass(frozen=True)
class Served:
    """Answers, and what gave them."""

    answers: Float32
    """[n, ...]: logits where there are classes."""

    sequence: int
    """Of the factors; 0 for none."""


@dataclass(frozen=True)
class Prepared:
    """A new model beside the one in use, checked."""

    answer: Answer | None
    """None where it must not be used."""

    problem: str | None
    """Why it must not."""

    load_s: float
    """Until it stood there."""

    seconds: float
    """In all, the check included; no inference waits meanwhile."""


@dataclass(frozen=True)
class Swap:
    """How an exchange went."""

    accepted: bool
    reason: str | None
    """Why the old factors are still in use."""

    load_s: float
    seconds: float
    """See `Prepared`."""


@dataclass(frozen=True)
class _InUse:
    answer: Answer
    sequence: int


class Serving:
    """A network with the factors in use; any number of threads may ask it.

    Args:
        load: makes a model of factors, see `Runtime.loaded`.
        factors: the first ones.
        sequence: their number; 0 for none.

    Raises:
        RuntimeUnavailableError: they cannot be loaded.
    """

    def __init__(self, load: Callable[[Factors], Answer], factors: Factors, sequence: int) -> None:
        """Load the first factors."""
        self._load = load
        self._in_use = _InUse(load(factors), sequence)
        self._preparing = threading.Lock()

    @property
    def sequence(self) -> int:
        """The number of the factors in use; 0 for none."""
        return self._in_use.sequence

    def infer(self, samples: Float32) -> Served:
        """Answer samples [n, ...]."""
        in_use = self._in_use  # looked at once: a swap from here on is for the next request
        return Served(in_use.answer(samples), in_use.sequence)

    def prepare(self, factors: Factors, check: Check) -> Prepared:
        """Load other factors beside those in use, and let them answer the check; one at a time.

        Args:
            factors: the new ones.
            check: what they have to answer.
        """
        with self._preparing:
            started = loaded = time.monotonic()
            answer = None
            try:
                answer = self._load(factors)
                loaded = time.monotonic()
                problem = check.problem(answer)
            except Exception as error:  # noqa: BLE001  # whatever it is, the old model goes on
                problem = str(error) or type(error).__name__
            usable = answer if problem is None else None
            return Prepared(usable, problem, loaded - started, time.monotonic() - started)

    def use(self, prepared: Prepared, sequence: int) -> Swap:
        """Put what was prepared into use under this number, if it may be used."""
        problem = prepared.problem
        if prepared.answer is not None:
            self._in_use = _InUse(prepared.answer, sequence)
            return Swap(True, None, prepared.load_s, prepared.seconds)  # noqa: FBT003
        reason = f"factors {sequence} are not used, {self.sequence} run on: {problem}"
        return Swap(False, reason, prepared.load_s, prepared.seconds)  # noqa: FBT003

    def swap(self, factors: Factors, sequence: int, check: Check) -> Swap:
        """Prepare and use other factors.

        Args:
            factors: the new ones.
            sequence: their number; 0 for none.
            check: what they have to answer.
        """
        return self.use(self.prepare(factors, check), sequence)


def check_of(runtime: Runtime, network: PackedNetwork, factors: Factors) -> Check:
    """A check by what the loop's own runtime answers with the same factors.

    It is asked twice: what differs between the two is noise of the chip, and allowed.

    Raises:
        AgentError: the runtime cannot run them.
    """
    samples = check_samples(network)
    first, second = (runtime.run(samples, factors, {}).answers for _ in range(2))
    return Check(samples, first, max(LEAST_TOLERANCE, NOISE_FACTOR * _relative(second, first)))


def check_samples(network: PackedNetwork) -> Float32:
    """Held-back samples, [n, ...]; where a bundle has none, normal numbers, always the same."""
    if network.has_samples:
        some = held_back_indices(network.references)[:CHECK_SAMPLES]
        return network.references.block(some, with_rows=False).inputs
    shape = (CHECK_SAMPLES, *network.graph.input.shape[1:])
    return np.random.default_rng(network.seed).standard_normal(shape).astype(np.float32)


def _relative(found: Float32, wanted: Float32) -> float:
    error = np.linalg.norm(np.asarray(found, np.float64) - wanted)
    return float(error / (np.linalg.norm(wanted.astype(np.float64)) or 1.0))
