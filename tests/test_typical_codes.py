"""Typical codes are the clean references, encoded."""

from __future__ import annotations

import numpy as np

from calib.prepare import PackOptions, prepare
from calib.references import fit_indices
from calib.typical_codes import SAMPLES, TypicalCodes
from tests.small_networks import classifier, samples_for


def test_typical_codes_are_encoded_clean_rows() -> None:
    graph = classifier()
    network = prepare(graph, samples_for(graph, 40, seed=3), None, PackOptions())
    typical = TypicalCodes(network)
    some = fit_indices(network.references)[:SAMPLES]
    clean = network.references.block(some)
    for layer in network.layers:
        codes = typical.of(layer)
        rows = clean.layers[layer.name].rows
        assert codes.shape == (rows.shape[0] * rows.shape[1], layer.groups, layer.inputs)
        code = network.activations[layer.name]
        decoded = code.decode(codes).reshape(rows.shape)
        assert np.abs(decoded - rows).max() <= code.step * 0.51
        assert np.array_equal(codes, typical.of(layer))
