"""Which packages are installed, and what each of them makes possible.

Nothing is imported: metadata says which version is there, and a module's spec that it can be found.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Versions = Callable[[str, str], str | None]
"""Takes a distribution's and its module's name; the version, or None where it is not installed."""


@dataclass(frozen=True)
class Known:
    """A package that the agent can use."""

    name: str
    module: str
    purpose: str
    needed: bool = False


KNOWN = (
    Known("numpy", "numpy", "everything", needed=True),
    Known("click", "click", "the commands", needed=True),
    Known("onnxruntime", "onnxruntime", "runtime onnxruntime"),
    Known("ai-edge-litert", "ai_edge_litert", "runtime tflite; reading .tflite models"),
    Known("tflite-runtime", "tflite_runtime", "runtime tflite on older and 32-bit boards"),
    Known("onnx", "onnx", "reading .onnx models"),
    Known("flatbuffers", "flatbuffers", "reading .tflite models"),
    Known("matplotlib", "matplotlib", "pictures"),
    Known("rich", "rich", "live screens"),
    Known("pyserial", "serial", "lines to a board, and from it"),
    Known("cbor2", "cbor2", "lines to a board, and from it"),
    Known("prometheus-client", "prometheus_client", "figures for Prometheus"),
    Known("distributed", "distributed", "simulations on a cluster"),
)


@dataclass(frozen=True)
class Package:
    """A known package as it was found."""

    name: str
    version: str | None
    purpose: str
    needed: bool
    works: bool
    reason: str | None
    """Why it does not work; None where it does."""


@dataclass(frozen=True)
class Ability:
    """Something that the agent can do here, or could after an installation."""

    name: str
    works: bool
    reason: str | None
    install: str | None
    """The command that makes it work; None where it works, or where none would help."""


def installed_version(name: str, module: str) -> str | None:
    """The version of an installed distribution whose module can be found."""
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return version if _is_there(module) else None


def examine(versions: Versions = installed_version) -> tuple[Package, ...]:
    """Every known package, as it is found here."""
    numpy = versions("numpy", "numpy")
    return tuple(_package(known, versions(known.name, known.module), numpy) for known in KNOWN)


def _package(known: Known, version: str | None, numpy: str | None) -> Package:
    reason = "not installed" if version is None else _conflict(known.name, numpy)
    return Package(known.name, version, known.purpose, known.needed, reason is None, reason)


def _conflict(name: str, numpy: str | None) -> str | None:
    # Its import succeeds with NumPy 2 and only building an interpreter fails, so the version is
    # what has to be asked; its metadata names no upper bound.
    if name == "tflite-runtime" and numpy is not None and _major(numpy) >= 2:
        return f"breaks with NumPy 2, and NumPy {numpy} is installed"
    return None


def _major(version: str) -> int:
    match = re.match(r"\d+", version)
    return int(match.group()) if match else 0


def abilities(
    packages: Sequence[Package], *, bits: int, has_module: Callable[[str], bool] | None = None
) -> tuple[Ability, ...]:
    """What works here with these packages.

    Args:
        packages: what `examine` found.
        bits: of the machine's pointers; ai-edge-litert and onnxruntime have no 32-bit wheels.
        has_module: whether a module of ours exists; asked for the runtimes.
    """
    exists = has_module or _is_there
    by_name = {package.name: package for package in packages}
    tflite = _first_working(by_name, "ai-edge-litert", "tflite-runtime")
    litert, small, onnx, host, cluster, serial, monitor = (
        f"python -m pip install 'npp-agent[{extra}]'"
        for extra in ("litert", "tflite", "onnx", "host", "cluster", "serial", "monitor")
    )
    return (
        _ability("run on an emulated chip (runtime cim)", [by_name["numpy"]], None),
        _runtime("onnxruntime", by_name["onnxruntime"], onnx if bits == 64 else None, exists),
        _runtime("tflite", tflite, litert if bits == 64 else small, exists),
        _ability("pack .onnx models", [by_name["onnx"]], host),
        _ability("pack .tflite models", [by_name["ai-edge-litert"], by_name["flatbuffers"]], host),
        _ability("draw pictures", [by_name["matplotlib"]], host),
        _ability("talk over a line", [by_name["pyserial"], by_name["cbor2"]], serial),
        _ability("watch a board live", [by_name["rich"], by_name["cbor2"]], monitor),
        _ability("export to Prometheus", [by_name["prometheus-client"]], monitor),
        _ability("simulate on a cluster", [by_name["distributed"]], cluster),
    )


def _first_working(by_name: dict[str, Package], *names: str) -> Package:
    """The first that works, else the first that is installed, else the first."""
    candidates = [by_name[name] for name in names]
    return min(candidates, key=lambda package: (not package.works, package.version is None))


def _runtime(
    name: str, package: Package, install: str | None, exists: Callable[[str], bool]
) -> Ability:
    ability = _ability(f"run on {name} (runtime {name})", [package], install)
    if exists(f"agent.runtimes.{name}"):
        return ability
    return Ability(ability.name, works=False, reason="not part of this version yet", install=None)


def _ability(name: str, needs: Sequence[Package], install: str | None) -> Ability:
    reasons = [f"{package.name}: {package.reason}" for package in needs if not package.works]
    if not reasons:
        return Ability(name, works=True, reason=None, install=None)
    return Ability(name, works=False, reason="; ".join(reasons), install=install)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
