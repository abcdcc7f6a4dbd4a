"""Accuracy of a packed network on aihwkit's PCM tiles at several ages; for its own Python.

Reads a bundle and test images, programs a chip for each seed, lets it drift and prints one JSON
line for each set-up, seed and age. Started by tools/bench_drift.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from drift.names import BY_COLUMN, BY_TILE, DEFAULT, GLOBAL, PEER_UNCORRECTED

from emulator.aihwkit_network import Tiles, analog_network, modules
from emulator.torch_network import TorchNetwork, read_network

BATCH = 100
WAYS = {
    PEER_UNCORRECTED: Tiles("perfect", compensation="none"),
    GLOBAL: Tiles("perfect"),
    BY_COLUMN: Tiles("perfect", compensation="column"),
    BY_TILE: Tiles("perfect", by_column=False),
    DEFAULT: Tiles("default", by_column=False),
}


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="npz of x and y")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--ages-s", type=float, nargs="+", required=True)
    return parser.parse_args()


def accuracy(network: TorchNetwork, x: np.ndarray, y: np.ndarray) -> float:
    """Share of right answers."""
    parts = [network.logits(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    return float((np.concatenate(parts).argmax(axis=1) == y).mean())


def main() -> None:
    """All set-ups, seeds and ages, a line each."""
    arguments = options()
    torch.set_num_threads(1)
    given = read_network(arguments.bundle)
    with np.load(arguments.images, allow_pickle=False) as file:
        x, y = file["x"], file["y"]
    for seed in arguments.seeds:
        for way, tiles in WAYS.items():
            network = analog_network(given, tiles)
            torch.manual_seed(seed)
            for module in modules(network):
                module.program_analog_weights()
            for age_s in arguments.ages_s:
                for module in modules(network):
                    module.drift_analog_weights(age_s)
                found = accuracy(network, x, y)
                record = {
                    "way": way,
                    "chip": seed,
                    "age_s": age_s,
                    "accuracy": found,
                    "images": len(y),
                }
                print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
