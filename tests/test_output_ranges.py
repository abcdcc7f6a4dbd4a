"""Ranges of convolutions' outputs hold what the float and the quantised network make."""

from __future__ import annotations

import numpy as np
import pytest

from calib.graph.executor import run
from calib.output_ranges import output_codes
from calib.ranges import nominal_products
from tests.small_networks import classifier, packed, samples_for


@pytest.mark.parametrize("scheme", ["int8", "int4-tensor", "float"])
def test_nothing_is_clipped_before_the_activation(scheme: str) -> None:
    graph = classifier()
    with np.errstate(under="ignore"):
        network = packed(graph, 20, scheme=scheme)
    x = samples_for(graph, 20)
    codes = output_codes(graph, network, x)
    keep = [layer.output for layer in network.layers]
    products = nominal_products(network.layers, network.activations)
    clean = run(graph, x, keep=keep)
    nominal = run(network.decision_graph, x, keep=keep, replace=products)
    for layer in network.layers:
        code = codes[layer.name]
        low, high = code.limits
        assert code.bits == 8
        assert code.zero_point > 0  # two-sided: the activation comes after
        for values in (clean, nominal):
            assert low <= values[layer.output].min()
            assert values[layer.output].max() <= high
        both = np.concatenate([clean[layer.output].ravel(), nominal[layer.output].ravel(), [0.0]])
        assert np.ptp(both) == pytest.approx(255 * code.step, rel=1e-4)
