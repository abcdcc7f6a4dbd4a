"""Swapping factors under requests: each answered once, by the old or the new factors, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from agent.runtimes.base import Runtime
from agent.runtimes.cim import CimRuntime
from agent.runtimes.tflite import TfliteRuntime
from agent.serving import Check, Serving, check_of
from calib.factors import Factors, no_factors
from calib.packed import PackedNetwork
from device_models.array import Chip, State
from device_models.presets import preset
from tests.board_bundles import package_in
from tests.onnx_runtimes import on_both, relative, residual, some_factors
from tests.small_networks import classifier, packed, samples_for

THREADS = 3
SWAPS = 40


def emulated(device: str, **options: Any) -> tuple[PackedNetwork, Runtime]:
    network = packed(classifier(), **options)
    return network, CimRuntime(network, Chip(preset(device), 1), State(), np.random.default_rng(0))


def on_onnxruntime() -> tuple[PackedNetwork, Runtime]:
    pytest.importorskip("onnxruntime")
    network, runtime, _ = on_both(residual())
    return network, runtime


def on_tflite(bundles: Path) -> tuple[PackedNetwork, Runtime]:
    package = package_in(bundles, "int4-stored")
    return package.network, TfliteRuntime(package.network, package.files)


MAKERS: dict[str, Callable[[pytest.FixtureRequest], tuple[PackedNetwork, Runtime]]] = {
    "cim": lambda _: emulated("mismatch-20"),
    "cim, levels": lambda _: emulated("mismatch-20", scheme="channelwise"),
    "onnxruntime": lambda _: on_onnxruntime(),
    "tflite": lambda request: on_tflite(request.getfixturevalue("board_bundles")),
}


@pytest.fixture(params=MAKERS)
def subject(request: pytest.FixtureRequest) -> tuple[PackedNetwork, Runtime]:
    return MAKERS[request.param](request)


def both_factors(network: PackedNetwork) -> tuple[Factors, Factors]:
    return no_factors(network.layers), some_factors(network, 2)


class Clients:
    """Threads that ask for one sample after another; who waits for nobody misses no swap."""

    def __init__(self, serving: Serving, samples: Any) -> None:
        self.serving, self.samples = serving, samples
        self.answers: list[list[tuple[int, int, Any]]] = [[] for _ in range(THREADS)]
        self.stop, self.answered = threading.Event(), threading.Semaphore(0)
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(THREADS)]

    def ask(self, client: int) -> None:
        number = 0
        while not self.stop.is_set() or number < len(self.samples):
            at = number % len(self.samples)
            served = self.serving.infer(self.samples[at : at + 1])
            self.answers[client].append((number, served.sequence, served.answers))
            self.answered.release()
            number += 1

    def wait_for_answers(self) -> None:
        for _ in range(THREADS):
            self.answered.acquire()

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_every_request_is_answered_once_in_order_by_the_factors_it_names(
    subject: tuple[PackedNetwork, Runtime],
) -> None:
    network, runtime = subject
    samples = samples_for(network.graph, 8, seed=3)
    factors = both_factors(network)
    # One sample at a time, as the clients ask: a product of one row need not round as that of many.
    wanted = [
        [runtime.run(samples[i : i + 1], one, {}).answers for i in range(8)] for one in factors
    ]
    checks = [check_of(runtime, network, one) for one in factors]
    serving = Serving(runtime.loaded, factors[0], 0)
    with Clients(serving, samples) as clients:
        for number in range(1, SWAPS + 1):
            assert serving.swap(factors[number % 2], number, checks[number % 2]).accepted
            clients.wait_for_answers()
    seen = set()
    for answers in clients.answers:
        assert [number for number, _, _ in answers] == list(range(len(answers)))
        sequences = [sequence for _, sequence, _ in answers]
        assert sequences == sorted(sequences)  # never back to older factors
        seen |= set(sequences)
        for number, sequence, answer in answers:
            np.testing.assert_array_equal(answer, wanted[sequence % 2][number % 8])
    assert len(seen) > 2  # they did ask meanwhile
    assert serving.sequence == SWAPS


def test_a_loaded_model_is_not_disturbed_by_what_the_runtime_does(
    subject: tuple[PackedNetwork, Runtime],
) -> None:
    network, runtime = subject
    samples = samples_for(network.graph, 5, seed=3)
    old, new = both_factors(network)
    before, after = runtime.loaded(old), runtime.loaded(new)
    kept = before(samples)
    for seed in range(6):
        runtime.run(samples, some_factors(network, 1, seed=seed), {})
    np.testing.assert_array_equal(before(samples), kept)
    np.testing.assert_array_equal(after(samples), runtime.run(samples, new, {}).answers)
    assert relative(after(samples), kept) > 0.01


def test_a_noisy_chip_passes_its_check_and_other_factors_do_not() -> None:
    network, runtime = emulated("rram-wan")
    old, new = both_factors(network)
    serving = Serving(runtime.loaded, old, 0)
    for number in range(1, 20):
        assert serving.swap(old, number, check_of(runtime, network, old)).accepted
    swapped = serving.swap(new, 20, check_of(runtime, network, old))
    assert not swapped.accepted
    assert swapped.reason is not None
    assert "off those that the factors were judged by" in swapped.reason
    assert serving.sequence == 19


def failing(_: Factors) -> Any:
    raise MemoryError


def serving_ones(answer: Callable[[Any], Any]) -> Any:
    """A loader whose first model answers ones, and every later one as it is told."""
    models = iter([np.ones_like])
    return lambda _: next(models, answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda x: x[:1], "shape [1, 3] came where [2, 3] was expected"),
        (lambda x: x * np.nan, "not finite"),
        (lambda x: 2 * x, "off those"),
        (lambda _: failing(Factors({})), "MemoryError"),
    ],
)
def test_a_model_that_answers_wrongly_is_not_used(answer: Callable[[Any], Any], why: str) -> None:
    ones = np.ones((2, 3), np.float32)
    serving = Serving(serving_ones(answer), Factors({}), 7)
    swapped = serving.swap(Factors({}), 8, Check(ones, ones, 1e-3))
    assert not swapped.accepted
    assert swapped.reason is not None
    assert "factors 8 are not used, 7 run on" in swapped.reason
    assert why in swapped.reason
    served = serving.infer(3 * ones)
    assert served.sequence == 7
    np.testing.assert_array_equal(served.answers, ones)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one() -> None:
    ones = np.ones((2, 3), np.float32)
    models = iter([np.ones_like])
    serving = Serving(lambda _: next(models), Factors({}), 1)
    swapped = serving.swap(Factors({}), 2, Check(ones, ones, 1e-3))
    assert not swapped.accepted
    assert serving.infer(ones).sequence == 1
