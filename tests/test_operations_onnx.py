"""The operations against the node cases that the `onnx` package ships for its own backends."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from calib.graph.registry import operations

EXCLUDED = {
    r"cast(like)?_.*(BFLOAT16|FLOAT8|FLOAT4|INT4|INT2).*": "an element type that NumPy lacks",
    r"identity_(opt|sequence)": "sequences and optional values are no arrays",
    r"batchnorm_.*training_mode": "running statistics are training's; we run trained networks",
    r"maxpool_with_argmax_.*": "reads the second output, Indices, which we do not give",
    r"split_.*_opset13": "older form: the number of parts follows from the node's outputs; "
    "importers name it as num_outputs",
    r"(log)?softmax_large_number_expanded": "expanded to ReduceMax with axes as an attribute, an "
    "older form that importers bring to axes as an input",
    r"mvn_expanded.*": "expanded to ReduceMean with axes as an attribute, as above",
    r"reduce_log_sum_empty_set_expanded": "takes the logarithm of zero on purpose",
}
"""Cases of operations that we claim and do not run: pattern of the name, and why."""


@cache
def claimed_cases() -> dict[str, Any]:
    """Every case all of whose nodes are operations of ours; one node, or a function's many."""
    ours = {*operations(), "Constant"}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the package's own reference code overflows in places
        collected = collect_testcases(None)
    return {
        case.name.removeprefix("test_"): case
        for case in collected
        if case.model.graph.node and ours.issuperset(node_types(case))
    }


def node_types(case: Any) -> set[str]:
    return {node.op_type for node in case.model.graph.node}


def reason_against(name: str) -> str | None:
    return next((why for pattern, why in EXCLUDED.items() if re.fullmatch(pattern, name)), None)


def names_of_cases_run() -> list[str]:
    return sorted(name for name in claimed_cases() if reason_against(name) is None)


def run_case(graph: onnx.GraphProto, values: dict[str, Any]) -> list[Any]:
    for node in graph.node:
        attributes = {a.name: attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            outputs: tuple[Any, ...] = (np.asarray(*attributes.values()),)
        else:
            inputs = [values[name] if name else None for name in node.input]
            outputs = operations()[node.op_type].forward(inputs, attributes)
        values.update(zip(node.output, outputs, strict=False))
    return [values[output.name] for output in graph.output]


def attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value if isinstance(value, int | float) else tuple(value)


def as_array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


@pytest.mark.parametrize("name", names_of_cases_run())
def test_case(name: str, record_property: Callable[[str, int], None]) -> None:
    case = claimed_cases()[name]
    for inputs, wanted in case.data_sets:
        ports = (port.name for port in case.model.graph.input)
        values = dict(zip(ports, map(as_array, inputs), strict=True))
        found = run_case(case.model.graph, values)
        for ours, theirs in zip(found, map(as_array, wanted), strict=True):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)
    record_property("counted: ONNX node cases passed", 1)


def test_every_exclusion_is_needed() -> None:
    unused = [p for p in EXCLUDED if not any(re.fullmatch(p, name) for name in claimed_cases())]
    assert not unused


def test_every_operation_is_shown_by_a_case(record_property: Callable[[str, int], None]) -> None:
    run = names_of_cases_run()
    shown = set().union(*(node_types(claimed_cases()[name]) for name in run))
    assert set(operations()) <= shown
    record_property("counted: operations that ONNX node cases show", len(operations()))
    excluded = len(claimed_cases()) - len(run)
    record_property(
        f"counted: ONNX node cases excluded, for {len(EXCLUDED)} stated reasons", excluded
    )
