"""Putting a bundle into a store, quantised on the board where the bundle is float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.chip import IDEAL
from agent.errors import InputError
from agent.runtimes.names import CIM
from agent.runtimes.open import check_files
from agent.store.bundle import Bundle, open_bundle
from agent.store.package import Package, package_bytes, read_package
from agent.store.state import State
from agent.store.store import Store
from calib.packed import requantised
from calib.schemes.weights import FLOAT, SCHEMES


def prepared(bundle: Bundle, scheme: str | None) -> tuple[Bundle, Package]:
    """The bundle as the store will keep it, loaded and checked.

    Args:
        bundle: as it came.
        scheme: to which level a `float` bundle is quantised here; None for a quantised bundle.

    Raises:
        BundleError: it cannot be loaded.
        InputError: a float bundle without a scheme, or a quantised one with another scheme.
    """
    package = read_package(bundle)
    there = package.network.scheme
    if there == FLOAT and scheme is None:
        raise InputError(
            f"{bundle.name} holds float weights: say with --scheme to which level they are "
            f"quantised here: {', '.join(SCHEMES)}"
        )
    if scheme is None or scheme == there:
        return bundle, package
    if there != FLOAT:
        raise InputError(
            f"{bundle.name} is quantised as {there} and cannot become {scheme}: leave --scheme "
            "out, or pack the model with --scheme float"
        )
    package = replace(package, network=requantised(package.network, scheme))
    return open_bundle(package_bytes(package), name=bundle.name), package


def install(  # noqa: PLR0913 - each is one fact of an installation
    store: Store,
    bundle: Bundle,
    package: Package,
    chip: Mapping[str, Any],
    *,
    origin: Bundle | None = None,
    public_key: bytes | None = None,
) -> State:
    """Make a prepared bundle the installed one; the store is locked by the caller.

    Args:
        store: where.
        bundle: as the store will keep it.
        package: what it holds.
        chip: the chip's description.
        origin: the bundle as it came, whose signature counts; by default `bundle`.
        public_key: from now on only what this key has signed is installed.

    Raises:
        BundleError: the store knows a key, and the bundle is not signed with it, or is older.
        InputError: a chip for a runtime that is no emulator.
        BundleError: what it holds for its runtime is not of its network.
        StoreError: the store refuses; what was installed before still is.
    """
    if package.runtime != CIM and chip.get("name") != IDEAL:
        raise InputError(
            f"the runtime {package.runtime} is no emulator: --chip must be {IDEAL}, not "
            f"{chip.get('name')}"
        )
    check_files(package)
    return store.install(bundle, chip, origin=origin, public_key=public_key)
