"""Device models by name: our own, and those of plugins."""

from __future__ import annotations

import difflib

from device_models.builtin import (
    ANY_MISMATCH,
    Preset,
    is_ours,
    own_preset,
    preset_names,
    presets,
)
from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError

__all__ = ["ANY_MISMATCH", "Preset", "is_ours", "preset", "preset_names", "presets"]


def preset(name: str) -> DeviceModel:
    """The device model of a name, such as `ideal`, `mismatch-10` or `sram-bitplane`.

    A name that is none of ours may be a plugin's, see `device_models.plugins`.

    Raises:
        DeviceModelError: an unknown name; the nearest known one is suggested.
    """
    own = own_preset(name)
    if own is not None:
        return own
    from device_models.plugins import plugin_names, plugin_preset  # noqa: PLC0415 - seldom needed

    brought = plugin_preset(name)
    if brought is not None:
        return brought.model
    others = plugin_names()
    ours = [one for one in preset_names() if one != ANY_MISMATCH]
    near = _nearest(name, (*ours, "mismatch-10", *others))
    hint = "" if near is None else f"; did you mean {near}?"
    known = ", ".join((*preset_names(), *others))
    raise DeviceModelError(f"no device preset {name[:80]!r}{hint}; known: {known}, or a .toml file")


def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that was meant: the only one that begins so, else the most alike."""
    wanted = name.lower()
    begun = [one for one in known if wanted and one.startswith(wanted)]
    if len(begun) == 1:
        return begun[0]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    return near[0] if near else None
