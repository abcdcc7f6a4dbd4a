"""How many references fit a budget of bytes, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calib.errors import CalibError, SampleError
from calib.graph.linear import LinearLayer
from calib.references import position_bytes
from calib.stored_references import stored_bytes_per_position

POSITIONS = 16
"""Sampled positions a layer and sample; more were no better on real networks."""

MOMENT_RANK = 16
"""Common causes of each layer's inputs."""

FEWEST_STORED_POSITIONS = 2
SAMPLES_PER_COMMON_CAUSE = 4
"""So that no direction of the moments belongs to a single sample."""

FEWEST_SAMPLES = 8


@dataclass(frozen=True)
class ReferencePlan:
    """What is kept: the form, the samples and the positions."""

    form: str
    held_back: int
    references: int
    positions: int
    bytes: int
    rank: int = 0
    """Of the correlations, where moments are kept."""

    @property
    def samples(self) -> int:
        """All samples that are kept."""
        return self.held_back + self.references


@dataclass(frozen=True)
class Costs:
    """Bytes that the plan reckons with."""

    layers: Sequence[LinearLayer]
    sample_bytes: int
    answer_bytes: int
    float_weights_kept: bool
    """Whether the bundle keeps float weights anyway (scheme `float`)."""

    moment_rank: int = MOMENT_RANK
    """Of the correlations, at most."""

    def recomputed(self, samples: int) -> int:
        """Float16 weights and the samples themselves."""
        return self._weights() + samples * self.sample_bytes

    def moments(self, rank: int) -> int:
        """Float16 weights and the moments of the layers' inputs, whatever the samples."""
        from calib.input_moments import moment_bytes  # noqa: PLC0415 - boards make no plans

        return self._weights() + moment_bytes(self.layers, rank)

    def _weights(self) -> int:
        weights = sum(2 * layer.weight.size for layer in self.layers)
        return 0 if self.float_weights_kept else weights

    def stored(self, held_back: int, references: int, positions: int) -> int:
        """Samples, answers, positions, and codes of rows, outputs and gradients."""
        samples = held_back + references
        fit, outputs, places = 0, 0, 0
        for layer in self.layers:
            p = min(positions, layer.positions)
            fit += p * stored_bytes_per_position([layer]) + 4
            outputs += p * 2 * layer.outputs
            places += p * position_bytes(layer)
        per_sample = self.sample_bytes + self.answer_bytes + places
        return samples * per_sample + references * fit + held_back * outputs


def split_samples(available: int, held_back: int, references: int) -> tuple[int, int]:
    """Held-back and reference samples: as asked, or a quarter and three quarters of what is there.

    Raises:
        SampleError: fewer than eight samples, or none to judge or to fit with.
    """
    asked = held_back + references
    if min(held_back, references) < 1 or asked < FEWEST_SAMPLES:
        raise SampleError(
            f"{held_back} held-back samples and {references} references are asked for; give at "
            f"least one of each, and {FEWEST_SAMPLES} in all"
        )
    if available < FEWEST_SAMPLES:
        raise SampleError(
            f"{available} samples are too few: at least {FEWEST_SAMPLES} are needed, and "
            f"{asked} are asked for"
        )
    if available >= asked:
        return held_back, references
    quarter = max(available // 4, 1)
    return quarter, available - quarter


def plan_references(
    costs: Costs, form: str, budget_bytes: int, held_back: int, references: int
) -> ReferencePlan:
    """Choose form, samples and positions within the budget.

    As many samples as fit, stored or recomputed, with as many positions as fit then; where both
    forms have the same, `auto` takes the one of fewer bytes. Moments cost the same whatever the
    samples, so only their rank is lowered; `auto` never takes them, as they judge single layers.

    Raises:
        CalibError: not even eight samples fit, or the form is unknown.
    """
    if form not in FORMS:
        raise CalibError(f"references are kept as one of {', '.join(FORMS)}, not {form!r}")
    forms = [_FORMS[form]] if form != "auto" else [_stored, _recomputed]
    for samples in range(held_back + references, FEWEST_SAMPLES - 1, -1):
        share = _share(samples, held_back, references)
        plans = [find(costs, budget_bytes, share, samples - share) for find in forms]
        fitting = [plan for plan in plans if plan is not None]
        if fitting:
            return min(fitting, key=lambda plan: (-plan.positions, plan.bytes))
    share = _share(FEWEST_SAMPLES, held_back, references)
    stored = costs.stored(share, FEWEST_SAMPLES - share, FEWEST_STORED_POSITIONS)
    smallest = min(stored, costs.recomputed(FEWEST_SAMPLES))
    if form == "moments":
        smallest = costs.moments(0)
    raise CalibError(
        f"references of {FEWEST_SAMPLES} samples, {form}, do not fit {budget_bytes / 1024:.4g} "
        f"KiB; the cheapest form takes {-(-smallest // 1024)} KiB: raise --budget-kib"
    )


def _share(samples: int, held_back: int, references: int) -> int:
    """How many of fewer samples are held back: the same share, but at least one of each."""
    share = round(samples * held_back / (held_back + references))
    return min(max(share, 1), samples - 1)


def _recomputed(
    costs: Costs, budget_bytes: int, held_back: int, references: int
) -> ReferencePlan | None:
    size = costs.recomputed(held_back + references)
    if size > budget_bytes:
        return None
    return ReferencePlan("recomputed", held_back, references, POSITIONS, size)


def _stored(
    costs: Costs, budget_bytes: int, held_back: int, references: int
) -> ReferencePlan | None:
    for positions in range(POSITIONS, FEWEST_STORED_POSITIONS - 1, -1):
        size = costs.stored(held_back, references, positions)
        if size <= budget_bytes:
            return ReferencePlan("stored", held_back, references, positions, size)
    return None


def _moments(
    costs: Costs, budget_bytes: int, held_back: int, references: int
) -> ReferencePlan | None:
    samples = held_back + references
    highest = min(costs.moment_rank, samples // SAMPLES_PER_COMMON_CAUSE)
    for rank in range(highest, -1, -1):
        size = costs.moments(rank)
        if size <= budget_bytes:
            return ReferencePlan("moments", held_back, references, POSITIONS, size, rank)
    return None


_FORMS = {"recomputed": _recomputed, "stored": _stored, "moments": _moments}
FORMS = ("auto", *_FORMS)
