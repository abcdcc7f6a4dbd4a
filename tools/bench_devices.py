"""Benchmark of the catalogue: what each emulated chip does to a network, and what is repaired.

    NPP_DATA=DIR python tools/bench_devices.py [--chips N] [--images N] [--only TEXT] [--out FILE]

MLPerf Tiny's ResNet-8, packed as int8 with 96 references and 32 held-back samples, on chips of
every preset, at several ages, temperatures and supplies, and on SRAM arrays with one fault more.
Each chip is calibrated once, by the default method with 32 samples, in the condition that it is
tested in. One thread.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_closed_loop import Data, NoStore, answers, float_answers
from bench_report import machine, markdown_table

from agent.buffer import SampleBuffer
from agent.loop import CalibrationRequest, ClosedLoop
from agent.runtimes.cim import CimRuntime
from calib.factors import no_factors
from calib.importers import load_model
from calib.packed import PackedNetwork
from calib.prepare import PackOptions, prepare
from device_models.array import Chip, State
from device_models.contract import DeviceModel
from device_models.presets import preset
from device_models.validity import DAY_S, YEAR_S

FIRST_SEED = 1100
"""Chips from here on are used for nothing but these figures."""

MODEL = "resnet8_float.tflite"
SAMPLES = 32


@dataclass(frozen=True)
class Case:
    """A device in a condition."""

    device: str
    condition: str = "fresh"
    state: State = State()  # noqa: RUF009  # frozen
    change: Sequence[tuple[str, Any]] = ()
    """Parameters that differ from the preset's."""

    @property
    def model(self) -> DeviceModel:
        """What the chips are made of."""
        made: Any = preset(self.device)
        changed: DeviceModel = replace(made, **dict(self.change)) if self.change else made
        return changed

    @property
    def name(self) -> str:
        """The preset, and what is different."""
        return ", ".join([self.device, *(f"{key} {value}" for key, value in self.change)])


SRAM = "sram-bitplane"
CASES = (
    Case("ideal"),
    Case(SRAM),
    Case(SRAM, "85 °C", State(temperature_c=85.0)),
    Case(SRAM, "-40 °C", State(temperature_c=-40.0)),
    Case(SRAM, "0.8 V", State(supply_v=0.8)),
    Case(SRAM, "85 °C", State(temperature_c=85.0), (("reference", "fixed"),)),
    Case(SRAM, "ten years", State(age_s=10 * YEAR_S)),
    Case(SRAM, "ten years, 85 °C, 0.95 V", State(10 * YEAR_S, 85.0, 0.95)),
    Case(SRAM, change=(("read_noise_counts", 0.2),)),
    Case(SRAM, change=(("read_noise_counts", 0.2), ("reads", 3))),
    Case(SRAM, change=(("adc_bits", 6),)),
    Case(SRAM, change=(("adc_bits", 6), ("adc_range", "calibrated"))),
    Case(SRAM, change=(("sar_sigma", 0.1),)),
    Case(SRAM, change=(("inl_steps", 0.5),)),
    Case(SRAM, change=(("ir_drop", 0.05),)),
    Case(SRAM, change=(("stuck_at_zero", 0.001), ("stuck_at_one", 0.001))),
    Case("sram-charge"),
    Case("sram-charge", change=(("mismatch_at_1ff", 0.03),)),
    Case("pcm", "a day", State(age_s=DAY_S)),
    Case("pcm", "a year", State(age_s=YEAR_S)),
    Case("pcm-hermes", "a year", State(age_s=YEAR_S)),
    Case("pcm-joshi"),
    Case("rram-wan", "a day", State(age_s=DAY_S)),
    Case("rram-milo"),
    Case("rram-cmo", "a day", State(age_s=DAY_S)),
    Case("sonos", "five days", State(age_s=5 * DAY_S)),
    Case("generic-normal-independent"),
    Case("generic-normal-proportional"),
    Case("generic-normal-inverse-proportional"),
    Case("mismatch-10"),
    Case("mismatch-20"),
)


@dataclass(frozen=True)
class Figures:
    """Of one chip."""

    uncorrected: float
    corrected: float
    agreement: float
    noise_floor: float
    """Layer error that is read noise, and so cannot be repaired."""

    accepted: bool


@dataclass(frozen=True)
class Subject:
    """What all chips run."""

    network: PackedNetwork
    data: Data
    clean: np.ndarray
    """The float network's classes."""

    @property
    def accuracy(self) -> float:
        """The float network's."""
        return float((self.clean == self.data.test_y).mean())


def subject(directory: Path, images: int) -> Subject:
    """Pack the network with the first training images; test on the first test images."""
    file = np.load(directory / "cifar10.npz")
    data = Data(
        file["train_x"][:128].astype(np.float32),
        file["train_y"][:128],
        file["test_x"][:images].astype(np.float32),
        file["test_y"][:images],
    )
    path = directory / "mlperf-tiny" / MODEL
    network = prepare(load_model(path), data.pack_x, data.pack_y, PackOptions("int8"))
    return Subject(network, data, float_answers(path, data.test_x))


def one_chip(given: Subject, case: Case, seed: int) -> Figures:
    """Calibrate one chip and test it."""
    network, data = given.network, given.data
    runtime = CimRuntime(network, Chip(case.model, seed), case.state, np.random.default_rng(seed))
    nothing = no_factors(network.layers)
    loop = ClosedLoop(
        network, runtime, nothing, SampleBuffer(), time.monotonic, np.random.default_rng(seed)
    )
    done = loop.calibrate(CalibrationRequest(samples=SAMPLES), NoStore())
    raw = answers(runtime, nothing, data.test_x)
    mended = answers(runtime, loop.factors, data.test_x)
    return Figures(
        uncorrected=float((raw == data.test_y).mean()),
        corrected=float((mended == data.test_y).mean()),
        agreement=float((mended == given.clean).mean()),
        noise_floor=done.forecast.noise_floor,
        accepted=done.verdict.accepted,
    )


def row(given: Subject, case: Case, chips: int) -> list[str]:
    """All chips of one case, as a row of the table."""
    found = [one_chip(given, case, FIRST_SEED + number) for number in range(chips)]
    print(f"{case.name}, {case.condition}: {found}", file=sys.stderr, flush=True)
    recoveries = [one.corrected / given.accuracy for one in found]
    return [
        f"`{case.device}`" + "".join(f", `{key} = {value}`" for key, value in case.change),
        case.condition,
        f"{np.mean([one.uncorrected for one in found]):.1%}",
        f"{np.mean([one.corrected for one in found]):.1%}",
        f"{np.mean(recoveries):.3f}",
        f"{min(recoveries):.3f}",
        f"{np.mean([one.agreement for one in found]):.3f}",
        f"{np.mean([one.noise_floor for one in found]):.3f}",
        f"{sum(one.accepted for one in found)}/{chips}",
    ]


HEAD = (
    "chip", "condition", "uncorrected", "calibrated", "recovery, mean", "worst", "agreement",
    "read noise", "accepted",
)  # fmt: skip


def main() -> None:
    """Run what is asked for and write a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", type=int, default=3, help="of each case")
    parser.add_argument("--images", type=int, default=500, help="CIFAR-10 test images")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--out", type=Path, help="write the report here too")
    arguments = parser.parse_args()
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    given = subject(Path(os.environ["NPP_DATA"]), arguments.images)
    rows = [row(given, one, arguments.chips) for one in CASES if arguments.only in one.name]
    last = FIRST_SEED + arguments.chips - 1
    words = (
        f"MLPerf Tiny's ResNet-8 as `int8`, {arguments.images} CIFAR-10 test images, of which the "
        f"float network answers {given.accuracy:.1%} right. Each chip is calibrated once with "
        f"{SAMPLES} samples in the condition that it is tested in. *Read noise* is the part of the "
        "layers' relative error that is new at each read, as `calibrate` foretells it. Presets are "
        "as `npp-agent devices` shows them but for the parameters named."
    )
    seeds = machine(f"chip seeds {FIRST_SEED} to {last}, packing seed 0")
    title = "# What each emulated chip does to a network"
    report = "\n\n".join([title, seeds, words, markdown_table(HEAD, rows)])
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
