"""Benchmark of the emulator: images a second, build time and memory, beside aihwkit and CrossSim.

    NPP_DATA=DIR python tools/bench_emulator.py [--rounds 7] [--only NAMES] [--out FILE.md]
        [--aihwkit-python PYTHON] [--crosssim DIR --crosssim-python PYTHON]
    python tools/bench_emulator.py --quick

ResNet-8 with 8-bit weights and inputs, batches of 64, one thread. Every subject runs in a process
of its own and all alternate; rivals run in the Python that is given, in the same rounds
(docs/peers.md). What is not there is left out, and the report says why. `--quick` takes the demo's
small network and needs no data.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from emulator.alternation import Line, alternate
from emulator.processes import ROOT, Peers, Running, start, start_rival
from emulator.report import Run, report
from emulator.subjects import RIVALS, SUBJECTS
from recovery.cases import CASES
from recovery.subject import buffered, material

from agent.store.bundle import open_bundle
from agent.store.package import Package, package_bytes, read_package

ALWAYS = ("float32", "ideal")
"""What all others are compared with."""


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, 2 rounds, no rivals")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=64, help="in a batch")
    parser.add_argument("--serial-images", type=int, default=16, help="for bit-serial rivals")
    parser.add_argument("--only", default="", help="names of subjects, by commas; all of them")
    parser.add_argument("--aihwkit-python", type=Path, help="a Python that imports aihwkit")
    parser.add_argument("--crosssim", type=Path, help="a checkout of CrossSim")
    parser.add_argument("--crosssim-python", type=Path, help="a Python with PyTorch and SciPy")
    parser.add_argument("--out", type=Path, help="write the report here too")
    return parser.parse_args()


def prepared(folder: Path, images: int, *, quick: bool) -> tuple[Path, str]:
    """Write the network's bundle and batches of samples; gives the bundle and the model's name.

    Raises:
        SystemExit: no data to be found.
    """
    if quick:
        bundle = ROOT / "agent" / "demo" / "digits.npp"
        network = read_package(open_bundle(bundle)).network
        x = network.references.block(np.arange(images), with_rows=False).inputs
        np.save(folder / "batch.npy", np.ascontiguousarray(x, np.float32))
        return bundle, f"The demo's network, `{network.scheme}`"
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    case = next(case for case in CASES if case.device == "sram-bitplane")
    given = material(Path(os.environ["NPP_DATA"]), case, images)
    bundle = folder / "network.npp"
    bundle.write_bytes(package_bytes(Package(buffered(given, 0).network, case.name, "cim")))
    np.save(folder / "batch.npy", given.test.x)
    return bundle, "MLPerf Tiny's ResNet-8, 8-bit weights and inputs"


def lines(
    folder: Path, bundle: Path, arguments: argparse.Namespace
) -> tuple[dict[str, Line], dict[str, str]]:
    """Start all subjects and rivals that are asked for: those that run, and why others do not."""
    batch, few = folder / "batch.npy", folder / "few.npy"
    np.save(few, np.load(batch)[: arguments.serial_images])
    wanted = set(arguments.only.split(",")) | set(ALWAYS) if arguments.only else None
    peers = Peers(arguments.aihwkit_python, arguments.crosssim, arguments.crosssim_python)
    found: dict[str, Line] = {}
    missing: dict[str, str] = {}

    def keep(name: str, title: str, running: Running, images: int) -> None:
        if "missing" in running.ready:
            missing[title] = str(running.ready["missing"])
        else:
            found[name] = Line(running, images)

    for subject in SUBJECTS:
        if wanted is None or subject.name in wanted:
            keep(subject.name, subject.title, start(subject, bundle, batch), arguments.images)
    for rival in RIVALS:
        if (wanted is not None and rival.name not in wanted) or arguments.quick:
            continue
        why = peers.missing(rival)
        if why is not None:
            missing[rival.title] = why
            continue
        images = arguments.serial_images if rival.bit_serial else arguments.images
        running = start_rival(rival, peers, bundle, few if rival.bit_serial else batch)
        keep(rival.name, rival.title, running, images)
    return found, missing


def crosssim_version(checkout: Path | None) -> str | None:
    """The version and commit of a checkout."""
    if checkout is None:
        return None
    text = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    version = next(line.split('"')[1] for line in text.splitlines() if line.startswith("version"))
    asked = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return f"{version} ({commit})" if commit else version


def main() -> None:
    """Measure, and write the report."""
    arguments = options()
    if arguments.quick:
        arguments.rounds, arguments.images, arguments.serial_images = 2, 8, 8
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, model = prepared(folder, arguments.images, quick=arguments.quick)
        running, missing = lines(folder, bundle, arguments)
        found = alternate(running, arguments.rounds)
    run = Run(
        model=model,
        images=arguments.images,
        few=arguments.serial_images,
        rounds=arguments.rounds,
        found=found,
        missing=missing,
        crosssim=crosssim_version(arguments.crosssim),
    )
    text = report(run)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
