"""The process of one rival, in a Python of its own; started by tools/bench_emulator.py.

python rival_worker.py BUNDLE BATCH.npy RIVAL
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from calib.packed import PackedNetwork
from emulator.serving import Ready, Run, built, serve
from emulator.torch_network import TorchNetwork, read_network

Build = Callable[[PackedNetwork], TorchNetwork]


def aihwkit(name: str) -> Build:
    """On its tiles; not programmed, so that answers can be compared."""
    from emulator.aihwkit_network import Tiles, analog_network  # noqa: PLC0415 -- may be absent

    tiles = Tiles("8-bit" if name.endswith("8-bit") else "perfect", compensation="none")
    return lambda network: analog_network(network, tiles)


def crosssim(name: str) -> Build:
    """On its cores, whose cells and converters are ideal."""
    from emulator.crosssim_network import Cores, core_network  # noqa: PLC0415 -- may be absent

    if name.endswith("whole"):
        cores = Cores(1, bit_serial=False, adc_bits=0)
    else:
        cores = Cores(int(name[-1]))
    return lambda network: core_network(network, cores)


def make(bundle: Path, batch: Path, name: str) -> Ready:
    """Build a rival."""
    torch.set_num_threads(1)
    network = read_network(bundle)
    x = np.load(batch, allow_pickle=False)
    build = aihwkit(name) if name.startswith("aihwkit") else crosssim(name)

    def once() -> Run:
        found = build(network)
        return lambda: found.logits(x)

    packages = ["numpy", "torch", *(["aihwkit"] if name.startswith("aihwkit") else [])]
    versions = {package: version(package) for package in packages}
    return built(once, {"Python": platform.python_version(), **versions})


def main() -> None:
    """Serve one rival."""
    bundle, batch, name = sys.argv[1:]
    serve(lambda: make(Path(bundle), Path(batch), name))


if __name__ == "__main__":
    main()
