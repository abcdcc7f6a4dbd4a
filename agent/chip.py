"""The chip of a store: described by name, seed and, where it came from a file, that file's text.

{"name": "mismatch-15", "seed": 100}
{"name": "ours", "seed": 0, "description": {"toml": "kind = …"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.errors import StoreError
from agent.runtimes.names import CIM
from device_models.array import Chip
from device_models.errors import DeviceModelError

IDEAL = "ideal"


def describe_chip(name: str, seed: int) -> dict[str, Any]:
    """What a store keeps of a chip, so that it is the same chip ever after.

    Args:
        name: a preset, or the path of a TOML file.
        seed: which chip of its kind.

    Raises:
        DeviceModelError: there is no such preset, or the file describes no device.
    """
    from device_models.toml_file import find_device, names_file, to_toml  # noqa: PLC0415 - below

    model = Chip(find_device(name), seed).model
    if not names_file(name):
        return {"name": name, "seed": seed}
    return {"name": Path(name).stem, "seed": seed, "description": {"toml": to_toml(model)}}


def chip_of(described: Mapping[str, Any]) -> Chip:
    """The chip that a store describes.

    Raises:
        StoreError: the description is not one of ours.
        DeviceModelError: this version has no such device.
    """
    # Here, as a board without an emulated chip has no need of any device model.
    from device_models.presets import preset  # noqa: PLC0415
    from device_models.toml_file import load_device  # noqa: PLC0415

    name, seed, description = (described.get(k) for k in ("name", "seed", "description"))
    text = description.get("toml") if isinstance(description, dict) else None
    if type(seed) is not int or not isinstance(name if text is None else text, str):
        raise StoreError(
            f"the store describes no chip that this npp-agent knows ({str(described)[:60]}); "
            "install the bundle again"
        )
    try:
        model = preset(str(name)) if text is None else load_device(text + "\n")
    except DeviceModelError as error:
        raise DeviceModelError(
            f"the chip {str(name)[:60]!r} of the store is not known here; if a plugin brought it, "
            f"install that again ({error})"
        ) from error
    return Chip(model, seed)


def emulated_chip(described: Mapping[str, Any], runtime: str) -> Chip | None:
    """The chip that a store describes; None for a runtime that emulates none.

    Raises:
        StoreError, DeviceModelError: as for `chip_of`.
    """
    if runtime != CIM and dict(described) == {"name": IDEAL, "seed": 0}:
        return None
    return chip_of(described)
