"""Choosing samples: what every rule keeps to, and what each is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.candidates import Candidates
from calib.coverage import distances_from, farthest_first
from calib.errors import CalibError
from calib.representatives import VIEW, appearance, herded, view
from calib.selection import RULES, Chosen, select
from calib.sensitivity import Sensitivity

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
COUNTING = [rule for rule in RULES if rule != "all"]
DETERMINISTIC = [rule for rule in COUNTING if rule != "random"]


def candidates(
    rises: Sequence[float] | Array,
    features: Array | None = None,
    **facts: Any,
) -> Candidates:
    """Candidates of which the sensitivities are given; other facts are ones where not given."""
    n = len(rises)
    indices, ones = np.arange(10, 10 + n), np.ones(n)
    known: dict[str, Any] = dict.fromkeys(("losses", "entropies", "margins"), ones)
    known |= {"error_powers": np.ones((n, 2)), "clean_powers": np.ones((n, 2))} | facts
    sensitivity = Sensitivity(indices, ones, {"layer": ones}, np.asarray(rises, float))

    known["features"] = np.ones((n, 3)) if features is None else features
    known.setdefault("views", {"layer": np.ones((n, 4, 3))})
    return Candidates(sensitivity, **known)


def drawn(seed: int, n: int = 12) -> Candidates:
    """Candidates of which nothing is alike."""
    generator = np.random.default_rng(seed)
    one = generator.standard_normal
    facts = {name: one(n) ** 2 for name in ("losses", "entropies", "margins")}
    powers = {name: one((n, 2)) ** 2 + 0.1 for name in ("error_powers", "clean_powers")}
    views = {"first": one((n, 4, 3)), "second": one((n, 1, 5))}
    return candidates(one(n), one((n, 3)), views=views, **facts, **powers)


def chosen(rule: str, known: Candidates, count: int, seed: int = 0) -> tuple[Chosen, ...]:
    return select(rule, known, count, np.random.default_rng(seed))


def numbers(found: Sequence[Chosen]) -> list[int]:
    return [one.index for one in found]


RISES = (0.1, 3.0, -0.5, 2.0, 2.0)


def test_sensitivity_takes_the_highest_first_and_says_the_rank() -> None:
    found = chosen("sensitivity", candidates(RISES), 3)
    assert numbers(found) == [11, 13, 14]
    assert [one.sensitivity for one in found] == [3, 2, 2]
    assert [one.reason for one in found] == [f"sensitivity rank {k} of 5" for k in (1, 2, 3)]


def test_a_sensitivity_that_is_no_number_comes_last() -> None:
    assert numbers(chosen("sensitivity", candidates([np.nan, 1.0, 2.0]), 2)) == [12, 11]


def test_random_draws_differ_and_the_seed_decides() -> None:
    found = numbers(chosen("random", candidates(RISES), 4, seed=1))
    assert found == numbers(chosen("random", candidates(RISES), 4, seed=1))
    assert len({tuple(numbers(chosen("random", candidates(RISES), 4, s))) for s in range(9)}) > 1


def test_all_takes_all_whatever_the_number() -> None:
    assert numbers(chosen("all", candidates(RISES), 1)) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("rule", "fact", "expected"),
    [
        ("loss", "losses", [14, 13, 12]),
        ("entropy", "entropies", [14, 13, 12]),
        ("margin", "margins", [10, 11, 12]),
    ],
)
def test_rules_of_one_fact_take_the_worst_first(rule: str, fact: str, expected: list[int]) -> None:
    known = candidates(RISES, **{fact: np.arange(5.0)})
    assert numbers(chosen(rule, known, 3)) == expected


def test_the_error_norm_weighs_layers_alike_whatever_their_scale() -> None:
    errors = np.array([[1.0, 0.0], [0.0, 2e6], [3.0, 0.0]])
    clean = np.array([[1.0, 1e6], [1.0, 1e6], [1.0, 1e6]])
    known = candidates([0, 0, 0], error_powers=errors, clean_powers=clean)
    np.testing.assert_allclose(known.error_norms, np.sqrt([0.5, 1.0, 1.5]))
    assert numbers(chosen("error-norm", known, 3)) == [12, 11, 10]


@pytest.mark.parametrize("rule", COUNTING)
@given(seed=SEEDS, count=st.integers(1, 20))
def test_as_many_as_asked_are_chosen_none_twice(rule: str, seed: int, count: int) -> None:
    known = drawn(seed)
    found = numbers(chosen(rule, known, count))
    assert len(found) == min(count, 12)
    assert len(set(found)) == len(found)
    assert set(found) <= set(known.indices.tolist())


@pytest.mark.parametrize("rule", COUNTING)
@given(seed=SEEDS, count=st.integers(1, 12))
def test_the_order_of_the_candidates_does_not_matter(rule: str, seed: int, count: int) -> None:
    known = drawn(seed)
    order = np.random.default_rng(seed).permutation(12)
    assert chosen(rule, shuffled(known, order), count) == chosen(rule, known, count)


def shuffled(known: Candidates, order: Array) -> Candidates:
    facts = {
        name: getattr(known, name)[order]
        for name in (
            "error_powers",
            "clean_powers",
            "features",
            "losses",
            "entropies",
            "margins",
        )
    }
    views = {name: seen[order] for name, seen in known.views.items()}
    return Candidates(known.sensitivity.at(order), views=views, **facts)


@pytest.mark.parametrize("rule", DETERMINISTIC)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_samples_are_alike_the_first_are_taken(rule: str, value: float) -> None:
    known = candidates([value] * 6)
    assert numbers(chosen(rule, known, 4)) == [10, 11, 12, 13]


@pytest.mark.parametrize("rule", COUNTING)
def test_one_sample_is_chosen_from_one(rule: str) -> None:
    assert numbers(chosen(rule, candidates([0.0]), 3)) == [10]


@given(seed=SEEDS, count=st.integers(2, 12))
def test_each_choice_for_coverage_is_the_farthest_and_distances_fall(seed: int, count: int) -> None:
    features = drawn(seed).features
    found = farthest_first(features, count)
    steps = [distance for _, distance in found[1:]]
    assert steps == sorted(steps, reverse=True)
    for place, (index, distance) in enumerate(found[1:], 1):
        to_chosen = [distances_from(features, features[i]) for i, _ in found[:place]]
        nearest = np.min(to_chosen, axis=0)
        assert distance == pytest.approx(nearest[index])
        assert distance == pytest.approx(nearest.max())


@given(seed=SEEDS, count=st.integers(1, 4))
def test_coverage_is_within_twice_of_any_other_choice(seed: int, count: int) -> None:
    """Gonzalez's bound, against random choices of as many."""
    features = drawn(seed).features
    radius = covered(features, [i for i, _ in farthest_first(features, count)])
    generator = np.random.default_rng(seed)
    others = [covered(features, generator.permutation(12)[:count].tolist()) for _ in range(20)]
    assert radius <= 2 * min(others) + 1e-9


def covered(features: Array, centres: list[int]) -> float:
    """The largest distance from any sample to its nearest centre."""
    return float(np.min([distances_from(features, features[i]) for i in centres], axis=0).max())


def test_coverage_begins_in_the_middle_and_takes_one_of_each_group() -> None:
    features = np.array([[0.0], [0.1], [5.0], [10.0], [10.1]])
    found = numbers(chosen("coverage", candidates(RISES, features), 3))
    assert found[0] == 12
    assert set(found[1:]) in ({10, 14}, {10, 13}, {11, 14})


def test_sensitive_coverage_leaves_what_the_chip_does_not_hurt() -> None:
    features = np.array([[-5.0], [0.1], [5.0], [10.0], [10.1]])
    found = numbers(chosen("sensitivity-coverage", candidates(RISES, features), 3))
    assert found == [11, 14, 10]  # 13 is as sensitive as 14, but next to it; 12 does better


def test_without_any_sensitivity_coverage_is_left() -> None:
    features = np.array([[0.0], [0.1], [5.0], [10.0], [10.1]])
    found = numbers(chosen("sensitivity-coverage", candidates([-1.0] * 5, features), 3))
    assert found == [10, 14, 12]


@given(seed=SEEDS)
def test_representatives_have_moments_nearer_to_all_than_random_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    views = {
        "layer": generator.standard_normal((60, 4, 3)) + 3 * generator.standard_normal((60, 1, 3))
    }
    features = appearance(views)
    found = [i for i, _ in herded(features, 8)]
    drawn = [off_centre(features, generator.permutation(60)[:8].tolist()) for _ in range(20)]
    assert off_centre(features, found) < np.mean(drawn)


def off_centre(features: Array, places: list[int]) -> float:
    return float(np.linalg.norm(features[places].mean(axis=0)))


@given(seed=SEEDS, count=st.integers(1, 12))
def test_each_representative_is_the_best_next_one(seed: int, count: int) -> None:
    features = appearance(drawn(seed).views)
    found = herded(features, count)
    unit = np.sqrt((features**2).sum(axis=1).mean())
    for place in range(count):
        before = [i for i, _ in found[:place]]
        options = [i for i in range(12) if i not in before]
        offs = [off_centre(features, [*before, i]) for i in options]
        assert found[place][1] * unit == pytest.approx(min(offs), abs=1e-6)


def test_where_the_groups_are_two_representatives_are_of_both() -> None:
    rows = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])[:, None, None]
    found = numbers(chosen("representative", candidates([0.0] * 6, views={"layer": rows}), 2))
    assert len({number > 12 for number in found}) == 2


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_scale_of_a_layer_does_not_matter(scale: float) -> None:
    views = {name: scale * seen for name, seen in drawn(0).views.items()}
    scaled = candidates([0.0] * 12, views=views)
    plain = candidates([0.0] * 12, views=drawn(0).views)
    assert chosen("representative", scaled, 6) == chosen("representative", plain, 6)


def test_long_rows_are_seen_along_fewer_directions_always_the_same() -> None:
    rows = np.random.default_rng(0).standard_normal((3, 4, 2, 100)).astype(np.float32)
    assert view(rows).shape == (3, 4, VIEW)
    np.testing.assert_array_equal(view(rows)[:1], view(rows[:1]))
    assert view(rows[..., :30]).shape == (3, 4, 60)


BAD = {
    "loss": "losses",
    "entropy": "entropies",
    "margin": "margins",
    "error-norm": "error_powers",
    "coverage": "features",
    "sensitivity-coverage": "features",
}


@pytest.mark.parametrize(("rule", "fact"), BAD.items())
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_cannot_be_chosen_by(rule: str, fact: str, value: float) -> None:
    known = drawn(0)
    values = getattr(known, fact).copy()
    values[3] = value
    with pytest.raises(CalibError, match="of 1 of 12 samples are not finite"):
        chosen(rule, replace(known, **{fact: values}), 2)


def test_clean_rows_that_are_not_finite_cannot_be_chosen_by() -> None:
    views = {name: seen.copy() for name, seen in drawn(0).views.items()}
    views["second"][5, 0, 1] = np.nan
    with pytest.raises(CalibError, match="clean rows of 1 of 12 samples are not finite"):
        chosen("representative", replace(drawn(0), views=views), 2)


def test_a_rule_that_needs_classes_says_so() -> None:
    for rule, fact in (("margin", "margins"), ("entropy", "entropies")):
        with pytest.raises(CalibError, match=f"no {fact} to choose samples by: .* no classes"):
            chosen(rule, candidates(RISES, **{fact: None}), 2)


def test_what_cannot_be_chosen_is_refused() -> None:
    known = candidates(RISES)
    with pytest.raises(CalibError, match="no selection 'best'; choose one of sensitivity, random"):
        chosen("best", known, 2)
    with pytest.raises(CalibError, match="0 samples are to be chosen from 5"):
        chosen("random", known, 0)
    with pytest.raises(CalibError, match="2 samples are to be chosen from 0"):
        chosen("all", candidates([]), 2)
