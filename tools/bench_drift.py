"""Benchmark of drift: phase-change memory from one second to ten years, beside aihwkit.

    NPP_DATA=DIR python tools/bench_drift.py [--quick] [--images 1000] [--aihwkit-python PYTHON]
        [--results FILE.jsonl] [--out FILE.md]

ResNet-8 in `int8` on the PCM model, on chips used for nothing else: as it is, with one scalar a
layer, and calibrated by the closed loop. With the Python of an environment that has aihwkit 1.1.0
(docs/peers.md), the same network and images on its tiles, with its global drift compensation.
`--results` keeps what was measured, so that a run can be interrupted; the picture lies beside the
report. One thread.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from drift.names import AGES, PEER
from drift.picture import draw
from drift.report import report
from drift.ways import CASE, CHIPS, Accuracy, complete, through_time
from emulator.processes import peer_environment
from recovery.subject import Buffered, buffered, material

from agent.store.package import Package, package_bytes

TOOLS = Path(__file__).resolve().parent
SAMPLES = 64
BUFFER = 0


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one chip, two ages, 100 images")
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--aihwkit-python", type=Path, help="a Python that imports aihwkit")
    parser.add_argument("--results", type=Path, help="file of JSON lines, read and added to")
    parser.add_argument("--out", type=Path, help="the report, and its picture beside it as PNG")
    return parser.parse_args()


def known(results: Path | None) -> list[Accuracy]:
    """What was measured before."""
    if results is None or not results.exists():
        return []
    return [Accuracy(**json.loads(line)) for line in results.read_text().splitlines()]


def aihwkit(
    python: Path, shared: Buffered, chips: list[int], ages_s: list[float]
) -> Iterator[Accuracy]:
    """The same network and images on aihwkit's tiles, in its own Python."""
    with tempfile.TemporaryDirectory() as folder:
        bundle, images = Path(folder) / "network.npp", Path(folder) / "images.npz"
        bundle.write_bytes(package_bytes(Package(shared.network, CASE.name, "cim")))
        test = shared.material.test
        np.savez(images, x=test.x, y=test.y)
        command = [str(python), str(TOOLS / "emulator" / "aihwkit_drift.py")]
        command += ["--bundle", str(bundle), "--images", str(images)]
        command += ["--seeds", *map(str, chips), "--ages-s", *map(str, ages_s)]
        environment = peer_environment()
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdout is not None
            for line in peer.stdout:
                yield Accuracy(**json.loads(line))
    if peer.returncode:
        sys.exit(f"{python} failed with exit code {peer.returncode}: see above")


def measured(arguments: argparse.Namespace, before: list[Accuracy]) -> Iterator[Accuracy]:
    """What is not known yet, chip by chip."""
    shared = buffered(material(directory(), CASE, images(arguments)), BUFFER)
    done = {(one.way.startswith(PEER), one.chip) for one in before}
    chips = chips_of(arguments)
    for chip in chips:
        if (False, chip) not in done:
            yield from through_time(shared, chip, ages_of(arguments), SAMPLES)
    rest = [chip for chip in chips if (True, chip) not in done]
    if arguments.aihwkit_python is not None and rest:
        yield from aihwkit(arguments.aihwkit_python, shared, rest, ages_of(arguments))


def directory() -> Path:
    """The folder of the models and the data.

    Raises:
        SystemExit: it is not named.
    """
    if "NPP_DATA" not in os.environ:
        sys.exit("set NPP_DATA to the folder of the MLPerf Tiny models and the CIFAR-10 data")
    return Path(os.environ["NPP_DATA"])


def images(arguments: argparse.Namespace) -> int:
    """How many test images."""
    return 100 if arguments.quick else int(arguments.images)


def chips_of(arguments: argparse.Namespace) -> list[int]:
    """The chips' seeds."""
    return list(CHIPS[: 1 if arguments.quick else None])


def ages_of(arguments: argparse.Namespace) -> list[float]:
    """The ages, the youngest first."""
    return list(AGES.values())[:: 3 if arguments.quick else 1]


def main() -> None:
    """Measure, and write the report."""
    arguments = options()
    accuracy = material(directory(), CASE, images(arguments)).accuracy
    found = complete(known(arguments.results), chips_of(arguments), ages_of(arguments))
    for one in measured(arguments, found):
        print(f"  {one}", file=sys.stderr, flush=True)
        found.append(one)
        if arguments.results:
            with arguments.results.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(one)) + "\n")
    picture = arguments.out.with_suffix(".png") if arguments.out else None
    text = report(found, accuracy, picture.name if picture else None)
    print(text)
    if arguments.out and picture:
        arguments.out.write_text(text, encoding="utf-8")
        draw(found, accuracy, picture)


if __name__ == "__main__":
    main()
