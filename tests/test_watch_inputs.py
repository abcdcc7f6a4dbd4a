"""Live inputs against the references: what has moved, what has not, and who is to blame."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.watch.diagnosis import diagnose
from agent.watch.inputs import WINDOW, LiveInputs, begin_live, look_at_inputs, profile_of
from agent.watch.rounds import CanaryRound
from agent.watch.settings import WatchSettings
from agent.watch.watching import Watch, begin, look

Float32 = NDArray[np.float32]


def pictures(count: int, seed: int, gain: float = 1.0, tint: float = 0.0) -> Float32:
    """Pictures [n, 3, 8, 8] that differ in brightness and contrast."""
    generator = np.random.default_rng(seed)
    plain = generator.normal(size=(count, 3, 8, 8)) * generator.uniform(20, 60, (count, 1, 1, 1))
    found = 128 + plain + generator.normal(0, 15, (count, 1, 1, 1))
    found[:, 0] += tint
    return np.asarray(np.clip(gain * found, 0, 255), np.float32)


PROFILE = profile_of([pictures(64, 1), pictures(64, 2)])


def after(samples: Float32, live: LiveInputs | None = None) -> LiveInputs:
    return look_at_inputs(begin_live(PROFILE) if live is None else live, samples)


def watch_of(growth: float) -> Watch:
    watch = begin(WatchSettings(), ("a",))
    for step in (1.0,) * 10 + (growth,) * 10:
        watch = look(watch, CanaryRound({"a": 0.1 * step}, 1e-4 * step))
    return watch


def test_inputs_like_the_references_are_never_said_to_have_moved() -> None:
    live = begin_live(PROFILE)
    for seed in range(60):
        live = look_at_inputs(live, pictures(2 * WINDOW, 100 + seed))
        assert not live.moved


@pytest.mark.parametrize("change", [{"gain": 0.6}, {"gain": 1.5}, {"tint": 60.0}])
def test_darker_brighter_and_tinted_pictures_have_moved_within_a_few_windows(
    change: dict[str, float],
) -> None:
    assert after(pictures(3 * WINDOW, 7, **change)).moved


def test_the_feature_that_moved_is_named() -> None:
    live = after(pictures(3 * WINDOW, 7, tint=80.0))
    assert live.most_moved.startswith("mean of channel 0 by +")
    assert begin_live(PROFILE).most_moved == "nothing yet"


def test_inputs_that_come_back_are_at_home_again() -> None:
    live = after(pictures(3 * WINDOW, 7, gain=0.6))
    assert live.moved
    assert not after(pictures(40 * WINDOW, 8), live).moved


def test_how_many_come_at_a_time_makes_no_difference() -> None:
    samples, live = pictures(3 * WINDOW + 5, 7, gain=0.8), begin_live(PROFILE)
    for start in range(0, len(samples), 7):
        live = look_at_inputs(live, samples[start : start + 7])
    assert live.document() == after(samples).document()
    assert live.count == after(samples).count == 5


def test_inputs_that_are_no_numbers_have_moved() -> None:
    samples = pictures(2 * WINDOW, 7)
    samples[:, 0, 0, 0] = np.nan
    assert after(samples).moved


def test_other_shapes_are_looked_at_too() -> None:
    generator = np.random.default_rng(3)
    for shape, features in (((49, 10, 1), 4), ((8, 8, 3), 7), ((640,), 4), ((2, 30), 6)):
        samples = generator.normal(size=(96, *shape))
        profile = profile_of([samples])
        assert len(profile.names) == features
        live = look_at_inputs(begin_live(profile), generator.normal(size=(64, *shape)))
        assert not live.moved
        assert look_at_inputs(live, 3 * generator.normal(size=(64, *shape))).moved


def test_constant_inputs_do_no_harm() -> None:
    profile = profile_of([np.zeros((16, 5))])
    live = look_at_inputs(begin_live(profile), np.zeros((2 * WINDOW, 5)))
    assert not live.moved
    assert look_at_inputs(live, np.ones((2 * WINDOW, 5))).moved


@pytest.mark.parametrize(
    ("growth", "gain", "changed", "said"),
    [
        (1.0, 1.0, "nothing", "healthy: mean layer error 1 times"),
        (2.0, 1.0, "chip", "drifted: mean layer error 1.9"),
        (1.0, 0.6, "input", "the chip has not: healthy"),
        (2.0, 0.6, "both", "the chip has, too: drifted"),
    ],
)
def test_a_change_of_input_is_told_from_a_change_of_the_chip(
    growth: float, gain: float, changed: str, said: str
) -> None:
    found = diagnose(watch_of(growth), after(pictures(4 * WINDOW, 5, gain=gain)))
    assert found.changed == changed
    assert said in found.reason
    assert diagnose(watch_of(growth), None).changed in {"nothing", "chip"}


def test_live_inputs_come_back_from_json_and_damage_begins_anew() -> None:
    live = after(pictures(3 * WINDOW, 7, gain=0.6))
    document = json.loads(json.dumps(live.document()))
    again = LiveInputs.of(document, PROFILE)
    assert again.moved
    assert again.document() == live.document()
    damages: list[Any] = [{}, {"memory": [1.0]}, {"standing": ["nice", 0]}, {"standing": 7}]
    for damage in damages:
        begun = LiveInputs.of({**document, **damage} if damage else {}, PROFILE)
        assert begun.document() == begin_live(PROFILE).document()
