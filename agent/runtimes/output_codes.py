"""The file in a bundle that says in which codes a runtime's kernels give their outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agent.errors import BundleError
from agent.store.fields import Fields, decoded_fields
from calib.output_ranges import OUTPUT_BITS
from calib.schemes.activations import ActivationCode

FILE_NAME = "onnxruntime/outputs.json"
FILE_FORMAT = 1


def encode_output_codes(codes: Mapping[str, ActivationCode]) -> bytes:
    """The file's bytes."""
    outputs = {
        name: {"step": float(code.step), "zero_point": int(code.zero_point)}
        for name, code in codes.items()
    }
    document = {"format": FILE_FORMAT, "outputs": outputs}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def decode_output_codes(content: bytes, layers: list[str]) -> dict[str, ActivationCode]:
    """The inverse of `encode_output_codes`, for all these layers.

    Raises:
        BundleError: the file is damaged, of another version, or of another network.
    """
    outputs = decoded_fields(content, FILE_NAME, FILE_FORMAT).inner("outputs")
    return {name: _code(outputs.inner(name)) for name in layers}


def _code(entry: Fields) -> ActivationCode:
    step = entry.number("step")
    if step <= 0:
        raise BundleError(f"{entry.where}: a step is {step}, not above 0; pack the model again")
    zero_point = entry.whole("zero_point", 0, 2**OUTPUT_BITS - 1)
    return ActivationCode(step, zero_point, OUTPUT_BITS)
