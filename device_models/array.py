"""The seam between a runtime and the emulated array: write a layer into a chip, then multiply.

A `Chip` is a device model and a seed; `program` writes one layer's `ArrayWeights` into it and
returns an `Array`. The same model, seed and layer name are always the same cells, whatever else
was programmed before, at every age and temperature. What differs from one multiplication to the
next (read noise) comes from the generator that `Array.multiply` is given, and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_models.array_weights import ArrayWeights
from device_models.contract import Array, DeviceModel, Placement, State, TypicalInputs
from device_models.errors import DeviceModelError
from device_models.foreign import guarded, is_foreign
from device_models.registry import kind_of

__all__ = ["Array", "ArrayWeights", "Chip", "State", "TypicalInputs", "cautions", "program"]


@dataclass(frozen=True)
class Chip:
    """One emulated chip: what it is made of, and which one of its kind it is."""

    model: DeviceModel
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a seed that names no chip."""
        if self.seed < 0:
            raise DeviceModelError(f"chip seed {self.seed}: give a whole number of at least 0")


def program(  # noqa: PLR0913  # the last three by keyword
    chip: Chip,
    state: State,
    layer: str,
    weights: ArrayWeights,
    input_bits: int,
    *,
    typical: TypicalInputs | None = None,
    fast: bool = False,
    zero_point: int = 0,
) -> Array:
    """Write a layer into a chip.

    Args:
        chip: Which chip.
        state: Its age, temperature and supply when it will multiply.
        layer: The layer's name; it decides, with the seed, which cells the layer gets.
        weights: What is written.
        input_bits: Width of the activations, 1 to 8.
        typical: Gives activations as the layer usually gets them; some models need them.
        fast: Take a statistically equal form where the model has one.
        zero_point: The code that stands for zero in typical inputs.

    Raises:
        DeviceModelError: input bits that no 8-bit code has; or a plugin that fails.
    """
    if not 1 <= input_bits <= 8:
        raise DeviceModelError(f"layer {layer}: {input_bits} input bits; an array takes 1 to 8")
    placement = Placement(chip.seed, state, layer, weights, input_bits, typical, fast, zero_point)
    kind = kind_of(chip.model)
    if is_foreign(kind):
        return guarded(kind, chip.model, placement)
    array: Array = kind.program(chip.model, placement)
    return array


def cautions(chip: Chip, state: State) -> tuple[str, ...]:
    """A sentence for each condition for which the chip's model has no figures."""
    return kind_of(chip.model).holds_for(chip.model).cautions(chip.model.kind, state)
