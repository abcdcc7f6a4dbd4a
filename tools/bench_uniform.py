"""Benchmark of where rank and precision go: a budget shared out against the same rank everywhere.

    NPP_DATA=DIR python tools/bench_uniform.py [--quick] [--out FILE.md]

Within the bytes of rank 8 with 16-bit numbers, each chip is calibrated by `probe` with what the
budget buys by worth, with rank 8 in 16 bits in every layer, and with rank 16 in 8 bits. The gains
are solved anew beside each. One thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_closed_loop import Case, Data, answers, float_answers, read  # one thread, too
from bench_report import machine, markdown_table

from agent.gathering import planned
from agent.methods import fit
from agent.runtimes.cim import CimRuntime
from calib.budget import Budget
from calib.importers import load_model
from calib.layer_fit import Plan, head_of
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from calib.references import fit_indices
from device_models.array import Chip, State
from device_models.presets import preset

CHIP_SEEDS = range(1400, 1403)
SAMPLES = 64
MONTH_S = 30 * 86400.0
RESNET, KEYWORDS = "resnet8_float.tflite", "kws_float.tflite"
CASES = (
    Case("ResNet-8 int4-tensor", RESNET, "cifar10", "int4-tensor", "mismatch-10", 1000),
    Case("ResNet-8 nf4", RESNET, "cifar10", "nf4", "mismatch-15", 1000),
    Case("ResNet-8 int4", RESNET, "cifar10", "int4", "mismatch-10", 1000),
    Case("ResNet-8 int8", RESNET, "cifar10", "int8", "mismatch-10", 1000),
    Case("ResNet-8 int8, a month", RESNET, "cifar10", "int8", "pcm", 1000),
    Case("keywords int4-tensor", KEYWORDS, "kws", "int4-tensor", "mismatch-20", 300),
    Case("keywords nf4", KEYWORDS, "kws", "nf4", "mismatch-15", 300),
)
WAYS = {"by worth": None, "rank 8, 16 bits": (16,) * 8, "rank 16, 8 bits": (8,) * 16}


@dataclass(frozen=True)
class Tested:
    """A chip's figures after a calibration."""

    recovery: float
    agreement: float


def uniform(plan: Plan, network: PackedNetwork, bits: tuple[int, ...]) -> Plan:
    """The plan with the same components in every dense layer; grouped ones have gains alone."""
    dense = {layer.name: layer.groups == 1 for layer in network.layers}
    given = {
        name: bits[: len(one.solution.values)] if dense[name] else ()
        for name, one in plan.solved.items()
    }
    solved = {
        name: one.beside(*head_of(one.worth, given[name])) for name, one in plan.solved.items()
    }
    return Plan(solved, given)


def calibrated(
    network: PackedNetwork, runtime: CimRuntime, data: Data, clean: np.ndarray
) -> Iterator[Tested]:
    """The chip's figures in each way."""
    chosen = fit_indices(network.references)[:SAMPLES]
    bought = planned(runtime, network, chosen, Budget(rank=8))
    for bits in WAYS.values():
        plan = bought if bits is None else uniform(bought, network, bits)
        found = answers(runtime, fit("probe", runtime, network, chosen, plan), data.test_x)
        right = (found == data.test_y).mean() / (clean == data.test_y).mean()
        yield Tested(float(right), float((found == clean).mean()))


def row(directory: Path, case: Case, *, quick: bool) -> list[str]:
    """One case: mean recovery and agreement of each way."""
    data = read(directory, case, 200 if quick else case.test_samples)
    model = directory / "mlperf-tiny" / case.model
    network = prepare(
        load_model(model), data.pack_x, data.pack_y, replace(PackOptions(), scheme=case.scheme)
    )
    clean = float_answers(model, data.test_x)
    state = State(age_s=MONTH_S) if case.device == "pcm" else State()
    found = []
    for seed in list(CHIP_SEEDS)[: 1 if quick else None]:
        chip = Chip(preset(case.device), seed)
        runtime = CimRuntime(network, chip, state, np.random.default_rng(seed))
        found.append(list(calibrated(network, runtime, data, clean)))
    means = [
        (np.mean([one.recovery for one in way]), np.mean([one.agreement for one in way]))
        for way in zip(*found, strict=True)
    ]
    return [case.name, case.device, *(f"{one:.3f}, {other:.3f}" for one, other in means)]


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, 200 images")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of models and inputs")
    directory = Path(os.environ["NPP_DATA"])
    rows = [row(directory, case, quick=asked.quick) for case in CASES]
    seeds = f"chip seeds {CHIP_SEEDS.start} to {CHIP_SEEDS.stop - 1}, packing seed 0"
    table = markdown_table(("network, weights", "chip", *WAYS), rows)
    text = f"# Where rank goes\n\n{machine(seeds)}\n\n{EXPLANATION}\n\n{table}\n"
    print(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")


EXPLANATION = f"""\
Mean recovery and agreement with the float network of `probe` with {SAMPLES} samples, on chips that
were used for nothing else; 1,000 test images, 300 keywords. All ways take the bytes of rank 8 with
16-bit numbers: components and their bits bought by worth, or the same everywhere, as many as a
layer has. Uniform ones leave depthwise layers with gain and offset."""


if __name__ == "__main__":
    main()
