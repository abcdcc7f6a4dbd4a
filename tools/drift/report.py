"""The report of the benchmark of drift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bench_report import machine, markdown_table

from drift.names import AGES, OUR_WAYS, PEER_WAYS
from drift.ways import Accuracy

TEXT = """\
MLPerf Tiny's ResNet-8 in `int8`, its weights in pairs of phase-change cells as Nandakumar et al.
(ICECS 2019) measured them: programming noise, drift with an exponent of its own for every cell, 1/f
noise. Accuracy on the first {images:,} of the CIFAR-10 test images (JPEG copies), none of which
took part in anything; the float network has {accuracy:.1%} on them. Mean over {chips} chips, seeds
{first} to {last}, used for nothing else, and the worst and the best of them.

Ours: `pcm`, inputs of 8 bits, every product exact. *One scalar a layer* is the least-squares form
of global drift compensation (Joshi et al., Nature Communications 2020), fitted layer after layer on
96 references at all positions. *Calibrated* is the closed loop: probe, 64 of the references without
labels, gain, offset and rank 8 beside each layer, accepted by the verdict on 32 held-back samples;
at each age anew, or once after a second.
"""

PEERS = """
aihwkit 1.1.0 ran in the same measurement: the same network (weights that the 8-bit codes stand for,
inputs of each layer in the same 8 bits), the same images, its `PCMLikeNoiseModel` with 25 uS on
tiles of 256 × 256, drifted from age to age; {chips} chips, seeds {first} to {last} of PyTorch,
so of the same kind as ours but not the same cells.
*Global drift compensation* is its own `GlobalDriftCompensation`. Unless said otherwise each
column's weights take the whole range of conductance (`weight_scaling_columnwise`), as ours do, and
products are exact (`forward.is_perfect`). It has nothing that would learn gains, offsets and a
low-rank path on the device, so there is no row of that. How its tiles differ from our pairs stands
in [peers.md](../peers.md).
"""


def report(found: Sequence[Accuracy], accuracy: float, picture: str | None) -> str:
    """Markdown, with a table of all ways and ages."""
    ways = [way for way in (*OUR_WAYS, *PEER_WAYS) if any(one.way == way for one in found)]
    ages = [name for name, age_s in AGES.items() if any(one.age_s == age_s for one in found)]
    rows = [[way, *(_cell(found, way, AGES[name]) for name in ages)] for way in ways]
    sections = [
        "# Phase-change memory through ten years",
        machine("packing seed 0, buffer 0"),
        TEXT.format(images=found[0].images, accuracy=accuracy, **_chips(found, OUR_WAYS)).strip(),
    ]
    if any(one.way in PEER_WAYS for one in found):
        sections.append(PEERS.format(**_chips(found, PEER_WAYS)).strip())
    if picture:
        sections.append(f"![accuracy against age]({picture})")
    sections.append(markdown_table(("accuracy, mean (worst to best)", *ages), rows))
    return "\n\n".join(sections) + "\n"


def _chips(found: Sequence[Accuracy], ways: Sequence[str]) -> dict[str, int]:
    seeds = sorted({one.chip for one in found if one.way in ways})
    return {"chips": len(seeds), "first": seeds[0], "last": seeds[-1]}


def _cell(found: Sequence[Accuracy], way: str, age_s: float) -> str:
    figures = [one.accuracy for one in found if (one.way, one.age_s) == (way, age_s)]
    if not figures:
        return ""
    return f"{np.mean(figures):.1%} ({min(figures):.1%} to {max(figures):.1%})"
