"""Devices that other installed packages bring, found by Python's entry points.

    [project.entry-points."npp_agent.devices"]
    our-board = "our_package.board:DEVICE"

The name is the device's; what it leads to is a `Preset` of that name, and importing it has
registered the preset's kind. Nothing is looked for before a name is asked that is none of ours,
nothing is imported before it is needed, and one plugin's failure is nobody else's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points

from device_models.builtin import Preset, is_ours
from device_models.errors import DeviceModelError
from device_models.registry import kinds

GROUP = "npp_agent.devices"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_FACTS = {"unit", "meaning", "source", "optional"}


@dataclass(frozen=True)
class Listed:
    """All devices of plugins, and a sentence for each that cannot be used."""

    presets: tuple[Preset, ...]
    origins: tuple[str, ...]
    """The package that brings each preset."""

    problems: tuple[str, ...]


def plugin_names() -> tuple[str, ...]:
    """The names of all devices that plugins offer; imports none of them."""
    return tuple(sorted({entry.name for entry in _entries()}))


def plugin_preset(name: str) -> Preset | None:
    """The device of a name that a plugin brings; None where none offers it.

    Raises:
        DeviceModelError: the plugin cannot be used; the sentence names it.
    """
    offered = [entry for entry in _entries() if entry.name == name]
    if not offered:
        return None
    if len(offered) > 1:
        origins = " and ".join(sorted(_origin(entry) for entry in offered))
        raise DeviceModelError(
            f"the device {name!r} is offered by {origins}; uninstall all but one"
        )
    return _loaded(offered[0])


def plugin_devices() -> Listed:
    """Import every plugin: what a listing of all devices needs."""
    found, origins, problems = [], [], []
    for name in plugin_names():
        try:
            preset = plugin_preset(name)
        except DeviceModelError as error:
            problems.append(str(error))
            continue
        if preset is not None:
            found.append(preset)
            origins.append(_origin(next(entry for entry in _entries() if entry.name == name)))
    return Listed(tuple(found), tuple(origins), tuple(problems))


def seek_kind(kind: str) -> tuple[str, ...]:
    """Import plugins until one has registered a kind, the one of the same name first.

    Returns:
        A sentence for each plugin that could not be imported on the way.
    """
    problems = []
    for name in sorted(plugin_names(), key=lambda name: name != kind):
        if kind in kinds():
            break
        try:
            plugin_preset(name)
        except DeviceModelError as error:
            problems.append(str(error))
    return tuple(problems)


def _entries() -> list[EntryPoint]:
    """Each entry once, also where its package is found at two places."""
    unique = {
        (entry.name, entry.value, _origin(entry)): entry for entry in entry_points(group=GROUP)
    }
    return list(unique.values())


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]


def _loaded(entry: EntryPoint) -> Preset:
    """What an entry leads to, checked.

    Raises:
        DeviceModelError: it clashes, cannot be imported, or is no device.
    """
    if is_ours(entry.name):
        raise _refused(entry, "that is the name of a preset of npp-agent; it needs another one")
    if not _NAME.fullmatch(entry.name) or entry.name.endswith(".toml"):
        raise _refused(entry, "a name is made of small letters, digits, dots, dashes")
    try:
        found = entry.load()
    except DeviceModelError as error:
        raise _refused(entry, str(error)) from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise _refused(entry, f"importing {entry.value} raises {reason}") from error
    if not isinstance(found, Preset):
        raise _refused(entry, f"{entry.value} is a {type(found).__name__}, and no Preset")
    if found.name != entry.name:
        raise _refused(entry, f"its preset is called {found.name!r}; both need one name")
    _check_model(entry, found)
    return found


def _check_model(entry: EntryPoint, found: Preset) -> None:
    model = type(found.model)
    if not is_dataclass(model) or not model.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # every dataclass has them
        raise _refused(entry, f"its model {model.__name__} is no frozen dataclass")
    plain = [spec.name for spec in fields(model) if not set(spec.metadata) >= _FACTS]
    if plain:
        raise _refused(
            entry,
            f"{model.__name__}.{plain[0]} says neither unit nor source; make the field with "
            "device_models.parameters.parameter, coefficients or choice",
        )
    kind = kinds().get(getattr(model, "kind", ""))
    if kind is None or kind.model is not model:
        raise _refused(
            entry,
            f"no function is registered that programs a {model.__name__}; decorate it with "
            f"device_models.registry.register({model.__name__})",
        )


def _refused(entry: EntryPoint, reason: str) -> DeviceModelError:
    plain = " ".join(reason.split())[:300]
    return DeviceModelError(
        f"the device {entry.name[:60]!r} of the plugin {_origin(entry)} cannot be used: {plain}"
    )
