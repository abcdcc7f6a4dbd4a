"""The methods of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from calib.budget import Budget
from recovery import closed_forms
from recovery.cases import Case
from recovery.full_rank import full_rank
from recovery.oracle import oracle
from recovery.ours import Ours
from recovery.outcome import Outcome
from recovery.recipes import RECIPES, SAMPLES, Recipe
from recovery.subject import Subject

Run = Callable[[Subject], Outcome]
NO_TORCH = "PyTorch is not installed here (pip install npp-agent[bench])"
NOT_LINEAR = "the emulated array runs some 30 samples a second, too few to train through"
NO_WEIGHTS = (
    "converters that round take most of the cells' deviation away, so the array has no fixed "
    "weights whose error could be decomposed"
)


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    name: str
    title: str
    run: Run
    trained: bool = False
    """By PyTorch, through a chip whose weights are fixed."""

    reads_weights: bool = False
    """Needs weights that the chip has, whatever its inputs."""

    published: bool = True
    """Whether it is in the main table."""

    def load(self) -> None:
        """Import what the method needs, so that its own time is measured."""
        if self.trained:
            import_module("recovery.pytorch.rivals")

    def missing(self, case: Case) -> str | None:
        """Why the method cannot be run on a case; None where it can."""
        if self.reads_weights and not case.linear:
            return NO_WEIGHTS
        if self.trained and not case.linear:
            return NOT_LINEAR
        return NO_TORCH if self.trained and not find_spec("torch") else None


def training(recipe: Recipe, samples: int) -> Run:
    """Train as the recipe says, on so many samples; PyTorch is imported when it is run."""

    def run(subject: Subject) -> Outcome:
        from recovery.pytorch.rivals import rival  # noqa: PLC0415 -- PyTorch may be absent

        return rival(subject, recipe, samples)

    return run


def _trained(samples: int) -> list[Method]:
    found = [
        Method(recipe.name, recipe.title, training(recipe, samples), trained=True)
        for recipe in RECIPES
    ]
    for recipe in RECIPES:
        name, title = f"{recipe.name}-x3", f"{recipe.title}, 3 times as long"
        run = training(recipe, 3 * samples)
        found.append(Method(name, title, run, trained=True, published=False))
    return found


def _ours() -> list[Method]:
    found = [
        Method(
            f"{method}-{samples}", f"**ours: {method}**, {samples} samples", Ours(method, samples)
        )
        for method in ("probe", "sequential", "gradient")
        for samples in (64, 16)
    ]
    small = Ours("probe", 64, Budget(bytes=20_000))
    return [*found, Method("probe-64-20kB", "**ours: probe**, 64 samples, 20,000 bytes", small)]


def methods(samples: int = SAMPLES) -> dict[str, Method]:
    """All methods by name, in the order of the table.

    Args:
        samples: how many a rival that trains sees.
    """
    found = (
        Method("nothing", "nothing", closed_forms.nothing),
        Method("scalar", "one scalar a layer (drift compensation)", closed_forms.with_scalar),
        Method("offset", "bias, closed form", closed_forms.with_offset),
        Method("gain", "scale and bias, closed form", closed_forms.with_gain_and_offset),
        *_trained(samples),
        Method(
            "oracle",
            "SVD of the true weight error, rank 8 (QERA; knows the chip)",
            oracle,
            reads_weights=True,
        ),
        Method("full-rank", "full rank, closed form (the limit)", full_rank),
        *_ours(),
    )
    return {method.name: method for method in found}
