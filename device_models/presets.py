"""Device models by name."""

from __future__ import annotations

import difflib
import math
import re

from device_models.bitplane import BitPlaneSram
from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError
from device_models.pcm import PhaseChangeMemory
from device_models.product import Ideal, Mismatch

_FIXED: dict[str, DeviceModel] = {
    "ideal": Ideal(),
    "pcm": PhaseChangeMemory(),
    "sram-bitplane": BitPlaneSram(),
}
_MISMATCH = re.compile(r"mismatch-(\d{1,4}(?:\.\d{1,6})?)")


def preset_names() -> tuple[str, ...]:
    """The names that `preset` knows; N in `mismatch-N` is any number of per cent."""
    return (*sorted(_FIXED), "mismatch-N")


def preset(name: str) -> DeviceModel:
    """The device model of a name, such as `ideal`, `mismatch-10` or `sram-bitplane`.

    Raises:
        DeviceModelError: an unknown name; the nearest known one is suggested.
    """
    if name in _FIXED:
        return _FIXED[name]
    found = _MISMATCH.fullmatch(name)
    if found is not None and math.isfinite(float(found[1])):
        return Mismatch(percent=float(found[1]))
    near = difflib.get_close_matches(name, [*_FIXED, "mismatch-10"], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise DeviceModelError(
        f"no device preset {name[:80]!r}{hint}; known: {', '.join(preset_names())}"
    )
