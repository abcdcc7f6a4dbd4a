"""The four networks of the benchmark, their inputs, and the bundles that are packed of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bench_closed_loop import CASES, read

from agent.runtimes.names import ONNXRUNTIME, TFLITE

ROOT = Path(__file__).resolve().parents[2]
ARTIFICIAL_SAMPLES = 128

BUNDLES = {
    "onnxruntime int8": (ONNXRUNTIME, "int8", ()),
    "onnxruntime int4": (ONNXRUNTIME, "int4", ()),
    "tflite int8 none": (TFLITE, "int8", ("--branches", "none")),
    "tflite int8 auto": (TFLITE, "int8", ("--branches", "auto")),
    "tflite int8 all": (TFLITE, "int8", ("--branches", "all")),
    "tflite int4": (TFLITE, "int4", ("--branches", "none")),
}
"""By name: the runtime, the scheme, and more of the command line."""


@dataclass(frozen=True)
class Network:
    """A model and its inputs."""

    name: str
    file: str
    case: str | None
    """Of the closed loop's benchmark, whose data are used; None: there are no inputs."""

    shape: tuple[int, ...]
    low: float
    high: float
    """Bounds of artificial inputs, those of the int8 model's input codes."""

    runs: int
    """In a turn."""


NETWORKS = (
    Network("resnet8", "resnet8_float.tflite", "resnet8 nf4", (32, 32, 3), 0, 255, 15),
    Network("keywords", "kws_float.tflite", "keywords int4-tensor", (49, 10, 1), -124, 26, 15),
    Network("person", "vww_float.tflite", None, (96, 96, 3), 0, 1, 7),
    Network("anomaly", "ad_float.tflite", None, (640,), -85, 15, 15),
)


@dataclass(frozen=True)
class Made:
    """A network's files."""

    network: Network
    model: Path
    samples: Path
    """`.npz`: `x`, and `y` where there are labels; what is tested."""

    bundles: dict[str, Path]


def made(network: Network, data: Path, folder: Path, tested: int) -> Made:
    """Pack a network's bundles into a folder, and write what they are tested on."""
    folder.mkdir()
    packing, samples = folder / "packing.npz", folder / "samples.npz"
    cases = [case for case in CASES if case.name == network.case]
    if cases:
        found = read(data, cases[0], tested)
        np.savez(packing, x=found.pack_x, y=found.pack_y)
        np.savez(samples, x=found.test_x, y=found.test_y)
    else:
        generator = np.random.default_rng(0)
        x = generator.uniform(network.low, network.high, (ARTIFICIAL_SAMPLES, *network.shape))
        np.savez(packing, x=x.astype(np.float32))
        np.savez(samples, x=x[:1].astype(np.float32))
    model = data / "mlperf-tiny" / network.file
    bundles = {name: folder / f"{name.replace(' ', '-')}.npp" for name in BUNDLES}
    for name, path in bundles.items():
        runtime, scheme, more = BUNDLES[name]
        command = [sys.executable, "-m", "agent.cli", "pack", str(model), "--samples", str(packing)]
        command += ["--runtime", runtime, "--scheme", scheme, *more, "--out", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return Made(network, model, samples, bundles)
