"""Closed forms without a branch: one scalar a layer, an offset, or gain and offset a channel.

Each layer is fitted on what the corrected layers before it give, at all positions of all
references, in one pass through the chip. Means and products are taken in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calib.factors import Factors, no_factors
from calib.graph.linear import LinearLayer
from recovery.outcome import Outcome, Price, priced
from recovery.samples import Float32
from recovery.subject import Subject

Rows = NDArray[np.floating]
Change = tuple[Float32, Float32]
Solve = Callable[[Rows, Rows, Rows], Change]
"""From what a layer makes [n, m], what it should make [n, m] and its bias [m] to gain, offset."""


def scalar(made: Rows, wanted: Rows, bias: Rows) -> Change:
    """One number for the whole layer, before the bias: global drift compensation.

    As in Joshi et al. 2020 (Nature Communications 11, 2473), the layer's summed output is brought
    back; the sum is here one of products with what is wanted: the least squares.
    """
    main, target = made - bias, wanted - bias
    power = float(np.einsum("ij,ij->", main, main))
    gain = float(np.einsum("ij,ij->", main, target)) / power if power > 0 else 1.0
    gains = np.full(made.shape[1], gain, np.float32)
    return gains, ((1 - gain) * bias).astype(np.float32)


def offset(made: Rows, wanted: Rows, bias: Rows) -> Change:
    """The mean error of each channel."""
    return np.ones(len(bias), np.float32), (wanted - made).mean(axis=0).astype(np.float32)


def gain_and_offset(made: Rows, wanted: Rows, bias: Rows) -> Change:
    """The regression of each channel; a channel that never moves keeps its gain."""
    mean_made, mean_wanted = made.mean(axis=0), wanted.mean(axis=0)
    centred = made - mean_made
    power = np.einsum("ij,ij->j", centred, centred)
    product = np.einsum("ij,ij->j", centred, wanted - mean_wanted)
    gain = np.divide(product, power, out=np.ones(len(bias)), where=power > 0)
    return gain.astype(np.float32), (mean_wanted - gain * mean_made).astype(np.float32)


def fitted(subject: Subject, solve: Solve) -> Factors:
    """Fit layer after layer of the chip, in one pass."""
    clean, nothing_yet = subject.shared.clean, no_factors(subject.network.layers)
    found = dict(nothing_yet.surrogates)

    def adjust(layer: LinearLayer, outputs: Float32) -> Change:
        wanted = layer.output_rows(clean[layer.output])
        made, target = (
            rows.reshape(-1, layer.outputs).astype(np.float64) for rows in (outputs, wanted)
        )
        change = solve(made, target, layer.bias.astype(np.float64))
        found[layer.name] = found[layer.name].then_scaled(*change)
        return change

    references = subject.shared.references.x
    subject.runtime().run_adjusting(references, nothing_yet, adjust)
    return Factors(found)


def nothing(subject: Subject) -> Outcome:
    """The chip as it is."""
    return Outcome(no_factors(subject.network.layers), Price(0, 0))


def with_scalar(subject: Subject) -> Outcome:
    """See `scalar`."""
    price = priced(subject.network.layers, lambda layer: (1, layer.outputs))
    return Outcome(fitted(subject, scalar), price)


def with_offset(subject: Subject) -> Outcome:
    """See `offset`."""
    price = priced(subject.network.layers, lambda layer: (layer.outputs, 0))
    return Outcome(fitted(subject, offset), price)


def with_gain_and_offset(subject: Subject) -> Outcome:
    """See `gain_and_offset`."""
    return Outcome(fitted(subject, gain_and_offset), gain_price(subject))


def gain_price(subject: Subject) -> Price:
    """Of a gain and an offset for each channel."""
    return priced(subject.network.layers, lambda layer: (2 * layer.outputs, layer.outputs))
