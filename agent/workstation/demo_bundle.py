"""The demo's bundle: a package like any other, with held-out digits and their source beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.errors import BundleError
from agent.store.bundle import Bundle, bundle_bytes
from agent.store.fields import Fields, array_of
from agent.store.package import Package, to_parts
from calib.references import SampleCodes

DEMO_BUNDLE = Path(__file__).resolve().parents[1] / "demo" / "digits.npp"

ATTRIBUTION = {
    "title": "Optical Recognition of Handwritten Digits",
    "creators": "E. Alpaydin and C. Kaynak, 1998",
    "source": "UCI Machine Learning Repository, https://doi.org/10.24432/C50P49",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "changes": "Some of the 1,797 images of the test part, drawn at random. They are stored with "
    "their own values, 0 to 16, which the network reads divided by 16.",
}

_IMAGES, _LABELS, _ENTRY = "held_out/images", "held_out/labels", "held_out"


@dataclass(frozen=True)
class HeldOut:
    """Samples that took no part in training, nor in any fit."""

    images: SampleCodes
    labels: NDArray[np.uint8]

    @property
    def inputs(self) -> NDArray[np.float32]:
        """The samples as the network reads them."""
        return self.images.decoded(np.arange(len(self.labels)))


def demo_bundle_bytes(package: Package, held_out: HeldOut) -> bytes:
    """The bytes of the demo's bundle.

    Raises:
        BundleError: it cannot be put into a bundle.
    """
    document, arrays = to_parts(package)
    document["attribution"] = ATTRIBUTION
    document[_ENTRY] = {"scale": held_out.images.scale, "offset": held_out.images.offset}
    arrays |= {_IMAGES: held_out.images.codes, _LABELS: held_out.labels}
    return bundle_bytes(document, arrays, package.files)


def read_held_out(bundle: Bundle, shape: tuple[int, ...]) -> HeldOut:
    """The held-out samples of the demo's bundle.

    Args:
        bundle: opened.
        shape: of one sample, without the batch axis.

    Raises:
        BundleError: it is another bundle, or damaged.
    """
    if f"{_LABELS}.npy" not in bundle.parts:
        raise BundleError(
            f"{bundle.name} holds no held-out samples; tools/train_digits.py makes the demo's"
        )
    labels = array_of(bundle, _LABELS, ("|u1",), (None,))
    images = array_of(bundle, _IMAGES, ("|u1", "<f2"), (len(labels), *shape))
    entry = Fields(bundle.document, bundle.name).inner(_ENTRY)
    codes = SampleCodes(images, entry.number("scale"), entry.number("offset"))
    return HeldOut(codes, labels.astype(np.uint8))
