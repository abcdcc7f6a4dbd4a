"""Without factors, a quantised model's bundle answers as its file does, in this interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.runtimes.tflite import TfliteRuntime
from agent.runtimes.tflite_interpreter import imported
from calib.factors import no_factors
from tests.board_bundles import REAL, package_in

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors"),  # says: memory
]
COUNT = 50


@pytest.mark.parametrize("name", ["resnet8-file", "keywords-file"])
def test_answers_are_those_of_the_file_bit_for_bit(
    name: str, data_directory: Path, real_board_bundles: Path
) -> None:
    model, samples, _ = REAL[name]
    with np.load(data_directory / samples) as data:
        x = data["test_x" if "test_x" in data else "x"][-COUNT:].astype(np.float32)
    network = package_in(real_board_bundles, name).network
    runtime = TfliteRuntime(network, package_in(real_board_bundles, name).files)
    found = runtime.run(x, no_factors(network.layers), {}).answers
    expected = logits(data_directory / "mlperf-tiny" / model, x)
    np.testing.assert_array_equal(found, expected)


def logits(path: Path, x: Any) -> Any:
    """What a file makes of samples before its SOFTMAX, in the values that its codes stand for."""
    interpreter = imported().interpreter(
        model_content=path.read_bytes(), num_threads=1, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    (entry,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    alike = [
        one
        for one in interpreter.get_tensor_details()
        if one["dtype"] == np.int8
        and one["shape"].tolist() == result["shape"].tolist()
        and one["index"] != result["index"]
    ]
    return np.concatenate([_values(interpreter, entry, alike[0], s) for s in x]).astype(np.float32)


def _values(interpreter: Any, entry: Any, wanted: Any, sample: Any) -> Any:
    step, zero = entry["quantization"]
    steps = sample / np.float32(step)
    codes = np.clip(np.trunc(steps + np.copysign(np.float32(0.5), steps)) + zero, -128, 127)
    interpreter.set_tensor(entry["index"], codes.astype(np.int8)[None])
    interpreter.invoke()
    step, zero = wanted["quantization"]
    made = interpreter.get_tensor(wanted["index"]).astype(np.float32)
    return (made - np.float32(zero)) * np.float32(step)
