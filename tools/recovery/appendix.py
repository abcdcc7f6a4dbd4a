"""The report's last tables: time, longer training, the search of learning rates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench_report import markdown_table

from recovery.cases import CASES, TUNING_CHIPS, Case
from recovery.methods import Method, methods
from recovery.recipes import RATES, RECIPES, Recipe
from recovery.repetition import RECOVERY
from recovery.results import Record
from recovery.table import Records, figures, of_method
from recovery.timing import TIMING
from recovery.tuning import TUNED_ON, loss_of, tried

TIME_HEAD = (
    "case", "method", "fit, s", "calibration, s", "LoRA over fit", "over calibration", "peak, MB",
)  # fmt: skip


def times(records: Records) -> Iterator[str]:
    """How long ours take beside LoRA, where both were timed."""
    rows = [row for case in CASES for row in _time_rows(records, case)]
    if rows:
        yield "## Time"
        yield (
            "Each method alone in a process, one after the other, on the first chip and buffer; "
            "processor seconds. The fit is that of the chosen samples with its runs of the chip; "
            "a whole calibration also chooses the samples, predicts what is recoverable and "
            "verifies. *Peak* is the largest resident memory of the process."
        )
        yield markdown_table(TIME_HEAD, rows)


def _time_rows(records: Records, case: Case) -> Iterator[list[str]]:
    timed = [
        (method, found[-1])
        for method in methods().values()
        if (found := of_method(records, TIMING, case, method.name))
    ]
    lora_s = [
        float(one["cpu_s"]) for method, one in timed if method.name == best_lora(records, case)
    ]
    for method, one in timed:
        if "fit_s" in one or method.name.startswith("lora"):
            yield [case.name, method.title, *_time_cells(one, lora_s)]


def best_lora(records: Records, case: Case) -> str:
    """The LoRA of least mean KL on a case."""
    names = [recipe.name for recipe in RECIPES if recipe.form.rank]

    def divergence(name: str) -> float:
        found = of_method(records, RECOVERY, case, name)
        return float(np.mean(figures(found, "divergence"))) if found else np.inf

    return min(names, key=divergence)


def _time_cells(one: Record, lora_s: list[float]) -> list[str]:
    fit_s = float(one["fit_cpu_s"]) if "fit_cpu_s" in one else None
    whole_s = float(one["cpu_s"])
    return [
        "" if fit_s is None else f"{fit_s:.3f}",
        f"{whole_s:.3f}",
        f"{lora_s[0] / fit_s:.0f}" if lora_s and fit_s is not None else "",
        f"{lora_s[0] / whole_s:.0f}" if lora_s and fit_s is not None else "",
        f"{one['peak_mb']:.0f}",
    ]


def longer(records: Records) -> Iterator[str]:
    """What three times the steps change."""
    every = methods()
    rows = [
        row
        for case in CASES
        for recipe in RECIPES
        if (row := _longer_row(records, case, recipe, every[recipe.name]))
    ]
    if rows:
        yield "## Trained three times as long"
        yield "The same chips and buffers, the same learning rate, three times the steps."
        head = ("case", "method", "recovery", "×3", "agreement", "×3", "KL", "×3", "runs")
        yield markdown_table(head, rows)


def _longer_row(records: Records, case: Case, recipe: Recipe, method: Method) -> list[str]:
    """Empty unless each longer training has its counterpart."""
    thrice = of_method(records, RECOVERY, case, f"{recipe.name}-x3")
    chips = {(one["chip"], one["buffer"]) for one in thrice}
    every = of_method(records, RECOVERY, case, recipe.name)
    once = [one for one in every if (one["chip"], one["buffer"]) in chips]
    if not thrice or len(once) != len(thrice):
        return []
    cells = [
        f"{np.mean(figures(found, name)):.3f}"
        for name in ("recovery", "agreement", "divergence")
        for found in (once, thrice)
    ]
    return [case.name, method.title, *cells, str(len(thrice))]


def learning_rates(records: Records) -> Iterator[str]:
    """What the search found."""
    rows = [
        [model, recipe.title, *_rate_cells(records, model, recipe)]
        for model in TUNED_ON
        for recipe in RECIPES
    ]
    yield "## Learning rates"
    yield (
        f"Searched on chips {TUNING_CHIPS[0]} and {TUNING_CHIPS[1]} (ResNet-8: one of each of the "
        "first two cases), with a buffer and test samples of their own from the same pool. "
        "Distillation is judged by KL, geometric mean; training by labels by what accuracy lacks "
        "of the float network's. Bold: what the tables above use. Rates are relative to the "
        "natural size of what learns: gains to 1, offsets and B to the spread of a layer's "
        "outputs, A to the size of a random projection of its inputs, weights to their spread."
    )
    yield markdown_table(("model", "method", *(f"{rate:g}" for rate in RATES)), rows)


def _rate_cells(records: Records, model: str, recipe: Recipe) -> Iterator[str]:
    for rate in RATES:
        found = tried(records, recipe, model, rate)
        cell = f"{loss_of(recipe, found):.3f}" if found else "-"
        yield f"**{cell}**" if recipe.rates.get(model) == rate else cell
