"""How rivals are trained: what learns, from what, how long and how fast. Knows no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SAMPLES, BATCH = 1600, 8
"""Seen in one training, and in one step: 200 steps, about 17 times each reference.

Batches of 8 came nearer to the float network than of 16 or 32 in the same time."""

TEMPERATURE = 4.0
"""By which logits are divided in distillation (Hinton et al. 2015, arXiv 1503.02531); 4 was better
than 1 on a tuning chip."""

RATES = (1e-3, 3e-3, 1e-2, 3e-2)
"""Among which each recipe's learning rate was searched, by `--tune`."""


@dataclass(frozen=True)
class Form:
    """What of each layer learns, besides its offset."""

    gains: bool = True
    rank: int = 0
    weights: bool = False


@dataclass(frozen=True)
class Recipe:
    """One rival."""

    name: str
    title: str
    form: Form
    by_labels: bool
    """Cross entropy with the labels; else distillation from the float network's answers."""

    rates: Mapping[str, float]
    """By model file: the learning rate that the search found."""


def _rates(resnet: float, keywords: float) -> Mapping[str, float]:
    return {"resnet8_float.tflite": resnet, "kws_float.tflite": keywords}


RECIPES = (
    Recipe(
        "gain-adam",
        "scale and bias, Adam, distillation",
        Form(),
        by_labels=False,
        rates=_rates(1e-2, 3e-3),
    ),
    Recipe(
        "lora-labels",
        "LoRA rank 8, Adam, labels",
        Form(rank=8),
        by_labels=True,
        rates=_rates(3e-3, 1e-3),
    ),
    Recipe(
        "lora-distillation",
        "LoRA rank 8, Adam, distillation",
        Form(rank=8),
        by_labels=False,
        rates=_rates(1e-2, 1e-2),
    ),
    Recipe(
        "full-distillation",
        "full fine-tune, Adam, distillation",
        Form(weights=True),
        by_labels=False,
        rates=_rates(3e-3, 1e-2),
    ),
)
