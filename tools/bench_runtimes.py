"""Benchmark of the runtimes on a processor: what surrogates cost in time, and what they repair.

    NPP_DATA=DIR python tools/bench_runtimes.py [--quick] [--only NETWORK ...] [--out FILE.md]

MLPerf Tiny's four networks on onnxruntime, LiteRT (ai-edge-litert) and tflite-runtime, the last in
an environment of its own (`tools/setup_environment.sh tflite`). Each runtime is a process, and all
variants of all runtimes take turns in every round, a sample at a time, one thread: so ratios hold
on a busy machine where milliseconds do not. Accuracy: on samples that took no part, before and
after one calibration with 32 of 96 references in that very process. Person and anomaly detection
have no inputs here: they are packed with artificial ones, and their branches hold stand-ins.
"""

from __future__ import annotations

import argparse
import os

for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_threads] = "1"  # before NumPy is imported

import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_report import machine, markdown_table
from runtimes.client import Client, pythons
from runtimes.memory import peak_megabytes
from runtimes.networks import NETWORKS, Made, Network, made
from runtimes.variants import PLAIN, Variant, variants

ROUNDS, RELOADS = 41, 21
QUICK_ROUNDS, QUICK_RELOADS = 5, 5
QUICK_TESTED, TESTED = 100, {"resnet8": 2000, "keywords": 300}

HEAD = (
    "network", "runtime", "variant", "branches beside + folded",
    "time, of plain int8 (10 % to 90 %)", "median, ms", "p95, ms", "accuracy before", "after",
    "agreement before", "after", "accepted", "model, bytes", "bundle, bytes", "peak resident, MB",
    "re-creation, ms (shortest)",
)  # fmt: skip


@dataclass(frozen=True)
class Ready:
    """A network with all its variants loaded."""

    made: Made
    clients: Mapping[str, Client]
    """By runtime."""

    told: Mapping[tuple[str, str], Mapping[str, Any]]
    """By runtime and variant: what loading it said."""

    folder: Path

    def export(self, runtime: str, variant: str) -> Path:
        """The file of the model in use."""
        return exported(self.folder, runtime, variant)


def exported(folder: Path, runtime: str, variant: str) -> Path:
    """Where a model in use is written."""
    suffix = ".onnx" if runtime == "onnxruntime" else ".tflite"
    return folder / f"{runtime}-{variant.replace(' ', '-')}{suffix}"


def ready(network: Network, environments: Mapping[str, str], folder: Path, *, quick: bool) -> Ready:
    """Pack a network, and load and calibrate its variants."""
    tested = QUICK_TESTED if quick else TESTED.get(network.name, 1)
    files = made(network, Path(os.environ["NPP_DATA"]), folder, tested)
    clients = {name: Client(python, files.samples) for name, python in environments.items()}
    told: dict[tuple[str, str], Mapping[str, Any]] = {}
    chosen: list[str] | None = None
    # LiteRT first: the layers that `--branches auto` chose are those that stand-ins lie at.
    for runtime in sorted(clients, key=lambda name: name != "LiteRT"):
        for one in variants(runtime, has_inputs=network.case is not None, chosen=chosen):
            said = clients[runtime].ask("load", **asked(one, files, folder, runtime))
            told[runtime, one.name] = said
            if runtime == "LiteRT" and one.is_chosen:
                chosen = list(said["layers"])
            print(f"  {network.name}, {runtime}, {one.name}: {said}", file=sys.stderr, flush=True)
    return Ready(files, clients, told, folder)


def asked(one: Variant, files: Made, folder: Path, runtime: str) -> dict[str, Any]:
    """What a worker has to know to load a variant."""
    return {
        "name": one.name,
        "bundle": str(files.bundles[one.bundle]) if one.bundle else None,
        "model": str(files.model),
        "export": str(exported(folder, runtime, one.name)),
        "factors": one.factors,
        "slowdown": one.slowdown,
        "layers": one.layers,
    }


def timed(found: Ready, rounds: int) -> dict[tuple[str, str], np.ndarray]:
    """Milliseconds [rounds, runs] of each variant; all take turns in every round."""
    runs = found.made.network.runs
    seen: dict[tuple[str, str], list[list[float]]] = {key: [] for key in found.told}
    for _ in range(rounds):
        for runtime, variant in found.told:
            said = found.clients[runtime].ask("time", name=variant, runs=runs)
            seen[runtime, variant].append(said["ms"])
    return {key: np.array(times) for key, times in seen.items()}


def rows(found: Ready, *, quick: bool) -> list[list[str]]:
    """One network's rows of the table."""
    times = timed(found, QUICK_ROUNDS if quick else ROUNDS)
    made_rows = []
    for (runtime, variant), said in found.told.items():
        usual = np.median(times[runtime, PLAIN], axis=1)
        each = times[runtime, variant]
        low, middle, high = np.percentile(np.median(each, axis=1) / usual, [10, 50, 90])
        median, p95 = np.percentile(each, [50, 95])
        row = [found.made.network.name, runtime, variant, f"{said['beside']} + {said['folded']}"]
        row += [f"{middle:.2f} ({low:.2f} to {high:.2f})", f"{median:.3f}", f"{p95:.3f}"]
        row += [_share(share) for name in ("accuracy", "agreement") for share in said[name]]
        row += [{None: "", True: "yes", False: "no"}[said["accepted"]]]
        row += [f"{said['bytes']:,}", f"{said['bundle_bytes']:,}" if said["bundle_bytes"] else ""]
        made_rows.append(shown([*row, *_costs(found, runtime, variant, quick=quick)]))
    return made_rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _costs(found: Ready, runtime: str, variant: str, *, quick: bool) -> list[str]:
    """Memory, and milliseconds to make the model anew."""
    client = found.clients[runtime]
    with np.load(found.made.samples, allow_pickle=False) as file:
        sample = file["x"][:1].astype(np.float32)
    peak = peak_megabytes(client.python, found.export(runtime, variant), sample)
    count = QUICK_RELOADS if quick else RELOADS
    reloads = client.ask("reload", name=variant, runs=count)["ms"]
    return [f"{peak:.1f}", f"{np.median(reloads):.1f} ({min(reloads):.1f})"]


def shown(row: list[str]) -> list[str]:
    """The row, shown as progress."""
    print(f"  {row}", file=sys.stderr, flush=True)
    return row


def report(found: list[Ready], *, quick: bool) -> str:
    """The tables; the timing begins when nothing of ours is calibrating any more."""
    sections = [f"## {one.made.network.name}\n\n{markdown_table(HEAD[1:], table)}"
                for one in found
                for table in [[row[1:] for row in rows(one, quick=quick)]]]  # fmt: skip
    versions = {said["with"] for one in found for said in one.told.values() if "with" in said}
    title = "# Runtimes on a processor"
    return "\n\n".join([title, machine(f"{', '.join(sorted(versions))}; seed 0"), *sections, ""])


def main() -> None:
    """Print the report, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few images and rounds")
    names = [network.name for network in NETWORKS]
    parser.add_argument("--only", choices=names, action="append", help="default: all")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    wanted = [one for one in NETWORKS if one.name in (given.only or names)]
    environments = pythons()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        works = [
            pool.submit(ready, one, environments, Path(folder, one.name), quick=given.quick)
            for one in wanted
        ]
        found = [work.result() for work in works]
        text = report(found, quick=given.quick)
        for client in (client for one in found for client in one.clients.values()):
            client.close()
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
