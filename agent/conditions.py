"""The conditions of an emulated chip, as commands give them and a store remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from agent.errors import InputError, StoreError
from agent.runtimes.names import CIM
from device_models.array import State

NAMES = tuple(spec.name for spec in fields(State))


def named(conditions: State) -> dict[str, float]:
    """Conditions by name, for a store; a supply that is the model's own is left out."""
    values = {name: getattr(conditions, name) for name in NAMES}
    return {name: value for name, value in values.items() if value is not None}


def remembered_conditions(remembered: Mapping[str, Any]) -> State:
    """What a store remembers.

    Raises:
        StoreError: it is none of ours.
    """
    known = {name: remembered[name] for name in NAMES if remembered.get(name) is not None}
    if any(type(value) not in {int, float} for value in known.values()):
        raise StoreError(
            f"the store remembers {known}, which are no conditions of a chip; install the bundle "
            "again"
        )
    return State(**known)


def changed(conditions: State, given: Mapping[str, float | None]) -> State:
    """The same conditions with what was given, None leaving a value as it is.

    Raises:
        DeviceModelError: conditions that cannot be.
    """
    return replace(
        conditions, **{name: value for name, value in given.items() if value is not None}
    )


def check_given(given: Mapping[str, float | None], runtime: str) -> None:
    """Refuse conditions where there is no emulated chip.

    Raises:
        InputError: something was given, and the runtime is no emulator.
    """
    wrong = sorted(name for name, value in given.items() if value is not None)
    if wrong and runtime != CIM:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(
            f"the runtime {runtime} is no emulator, and nothing in it depends on {options}: leave "
            "that out"
        )
