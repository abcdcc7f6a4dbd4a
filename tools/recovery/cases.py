"""The rows of the benchmark: a model, its data, a scheme, a device and its age."""

from __future__ import annotations

from dataclasses import dataclass

from device_models.array import State
from device_models.contract import DeviceModel
from device_models.errors import DeviceModelError
from device_models.presets import preset

CHIPS = range(1000, 1010)
"""Used for nothing but the published figures."""

TUNING_CHIPS = (900, 901)
"""Learning rates are chosen on these."""

BUFFERS = range(3)
HELD_BACK, REFERENCES = 32, 96
MONTH_S = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Case:
    """One network on one kind of chip."""

    name: str
    model: str
    data: str
    scheme: str
    device: str
    age_s: float = 0.0
    test_images: int = 2000
    linear: bool = True
    """Whether the chip computes matrix products with fixed weights, which training can use."""

    @property
    def state(self) -> State:
        """The condition of the chips."""
        return State(age_s=self.age_s)

    @property
    def chip_model(self) -> DeviceModel:
        """What the chips are made of."""
        return preset(self.device)

    @property
    def missing(self) -> str | None:
        """Why the case cannot be run; None where it can."""
        try:
            preset(self.device)
        except DeviceModelError as error:
            return f"{self.name} is left out: {error}"
        return None


RESNET, KEYWORDS = "resnet8_float.tflite", "kws_float.tflite"
CASES = (
    Case("resnet8 int4-tensor + mismatch-10", RESNET, "cifar10", "int4-tensor", "mismatch-10"),
    Case("resnet8 nf4 + mismatch-15", RESNET, "cifar10", "nf4", "mismatch-15"),
    Case("resnet8 int8 + pcm after a month", RESNET, "cifar10", "int8", "pcm", MONTH_S),
    Case(
        "keywords int4-tensor + mismatch-20",
        KEYWORDS,
        "kws",
        "int4-tensor",
        "mismatch-20",
        test_images=300,
    ),
    Case(
        "resnet8 int8 + sram-bitplane",
        RESNET,
        "cifar10",
        "int8",
        "sram-bitplane",
        test_images=200,
        linear=False,
    ),
)
