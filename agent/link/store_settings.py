"""Settings of a store that a link can read, and those that it may change."""

from __future__ import annotations

import math
from collections.abc import Mapping

from agent import __version__
from agent.conditions import check_given, remembered_conditions
from agent.errors import InputError
from agent.status_report import facts_of
from agent.store.store import Store
from device_models.array import State

_CHIP = "chip/"
WRITABLE = ("chip/age_s", "chip/temperature_c", "chip/supply_v")
"""The conditions of an emulated chip, which the store remembers."""


def settings_of(store: Store) -> Mapping[str, str]:
    """Every setting as text; empty where nothing is set.

    Raises:
        StoreError: nothing is installed, or the store cannot be read.
    """
    state = store.state()
    known = {f"{_CHIP}{name}": value for name, value in state.remembered.items()}
    values = {name: known.get(name) for name in WRITABLE}
    return {
        "npp/version": __version__,
        "npp/store": str(store.path),
        "chip/name": str(state.chip.get("name", "")),
        **{name: "" if value is None else f"{value:g}" for name, value in values.items()},
    }


def change(store: Store, name: str, value: str) -> None:
    """Remember another condition of the chip.

    Raises:
        InputError: it is no number, or the chip is no emulated one.
        DeviceModelError: no chip can be in that condition.
        StoreError: the store refuses.
    """
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} cannot be {value[:40]!r}; give a number")
    condition = name.removeprefix(_CHIP)
    with store.lock():
        check_given({condition: number}, facts_of(store.bundle()).runtime)
        remembered: State = remembered_conditions({**store.state().remembered, condition: number})
        store.remember({condition: getattr(remembered, condition)})
