"""The kinds of device models: a name, a frozen dataclass of parameters, a function to program it.

A module that describes a kind registers it when it is imported; `device_models.presets` imports
them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from device_models.contract import Array, DeviceModel, Placement
from device_models.errors import DeviceModelError
from device_models.validity import Validity


@dataclass(frozen=True)
class Kind:
    """One kind of device model."""

    name: str
    model: type[DeviceModel]
    program: Callable[[Any, Placement], Array]
    validity: Validity | Callable[[Any], Validity]
    """Conditions for which it holds, or which they are for given parameters."""

    def holds_for(self, model: DeviceModel) -> Validity:
        """Conditions for which a model of this kind holds."""
        return self.validity(model) if callable(self.validity) else self.validity


Program = TypeVar("Program", bound=Callable[..., Any])

EVERYWHERE = Validity()

_KINDS: dict[str, Kind] = {}


def register(
    model: type[DeviceModel], validity: Validity | Callable[[Any], Validity] = EVERYWHERE
) -> Callable[[Program], Program]:
    """Decorate the function that programs chips of this model: (model, placement) -> Array.

    Raises:
        DeviceModelError: another model has a kind of that name.
    """
    known = _KINDS.get(model.kind)
    if known is not None and _place(known.model) != _place(model):
        raise DeviceModelError(
            f"the kind {model.kind!r} of {_place(model)} is the name of {_place(known.model)}; "
            "give it another one"
        )

    def remember(program: Program) -> Program:
        _KINDS[model.kind] = Kind(model.kind, model, program, validity)
        return program

    return remember


def _place(model: type[DeviceModel]) -> str:
    """Where a model is written; a module imported anew is the same place."""
    return f"{model.__module__}.{model.__qualname__}"


def kinds() -> dict[str, Kind]:
    """All kinds known so far, by name."""
    return dict(_KINDS)


def kind_of(model: DeviceModel) -> Kind:
    """The kind of a model.

    Raises:
        DeviceModelError: its kind was never registered.
    """
    kind = _KINDS.get(model.kind)
    if kind is None:
        raise DeviceModelError(
            f"no device model of kind {model.kind!r}; known kinds: {', '.join(sorted(_KINDS))}"
        )
    return kind
