"""A small classifier packed, installed and used through the command line, for tests of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.cli.program import run
from agent.store.package import Package, package_bytes
from calib.decision import decision_graph
from calib.graph.executor import run as run_graph
from calib.graph.model import Graph
from calib.prepare import PackOptions, prepare
from tests.small_networks import classifier, samples_for

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = 64


def _decided() -> Graph:
    """The classifier with a head that makes all classes about as frequent, and margins wide."""
    plain = classifier(classes=5)
    constants = {**plain.constants, "w4": 20 * plain.constants["w4"], "b4": np.zeros(5, np.float32)}
    graph = replace(plain, constants=constants)
    logits = decision_graph(graph)
    mean = run_graph(logits, samples_for(graph, 256, seed=7))[logits.output].mean(axis=0)
    return replace(graph, constants={**constants, "b4": -mean})


GRAPH = _decided()


def labelled(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Samples, and what the float network says of them."""
    x = samples_for(GRAPH, count, seed)
    logits = decision_graph(GRAPH)
    return x, run_graph(logits, x)[logits.output].argmax(axis=1)


def bundle(path: Path, **options: Any) -> Path:
    """The classifier as a bundle of 16 held-back samples and 48 references."""
    chosen = PackOptions(**{"held_back": 16, "references": 48, "scheme": "int8", **options})
    x, y = labelled(SAMPLES, 1)
    with np.errstate(under="ignore"):  # as outside the tests
        network = prepare(GRAPH, x, y, chosen)
    path.write_bytes(package_bytes(Package(network, "small", "cim")))
    return path


def data(path: Path, count: int = 40) -> Path:
    """A data file with new samples and labels."""
    x, y = labelled(count, 2)
    np.savez(path, x=x, y=y)
    return path


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def sentence(self) -> str:
        """The one sentence of a command that failed: nothing on stdout, no traceback."""
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("npp-agent: ")
        assert "defect" not in self.err, self.err
        return self.err.strip()


def npp(capsys: Any, *arguments: object) -> Said:
    """Run a command in this process."""
    code = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return Said(code, out, err)


def npp_process(*arguments: object, **environment: str) -> Said:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)
