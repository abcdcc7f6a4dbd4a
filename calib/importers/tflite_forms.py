"""Which forms of quantisation a TFLite file may have: none, or int8 throughout."""

from __future__ import annotations

from calib.errors import UnsupportedError
from calib.importers.tflite_file import Model, Operator, Tensor

_LAYERS = {"BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
_CODES = ("INT8", "UINT8")
_ADVICE = "convert it to int8 with one scale for each output, or give the float model"


def is_quantised(model: Model) -> bool:
    """Whether the file computes with codes; weights alone may be stored as codes anyway."""
    return any(_is_code(tensor) for tensor in model.tensors)


def _is_code(tensor: Tensor) -> bool:
    return tensor.value is None and tensor.quantization is not None and tensor.type != "FLOAT32"


def check_form(model: Model) -> None:
    """Check the input, and that what is computed is float or int8.

    Raises:
        UnsupportedError: it is not.
    """
    _check_input(model.tensors[model.inputs[0]])
    for tensor in filter(_is_code, model.tensors):
        if tensor.type not in _CODES:
            raise UnsupportedError(
                f"the model is quantised with activations of {tensor.type} (tensor "
                f"{tensor.name!r}), and only int8 is supported: {_ADVICE}"
            )
    for operator in model.operators if is_quantised(model) else ():
        if operator.code in _LAYERS and _has_weights(model, operator):
            _check_layer(model, operator.code, operator.inputs[0])


def _has_weights(model: Model, operator: Operator) -> bool:
    return len(operator.inputs) > 1 and model.tensors[operator.inputs[1]].value is not None


def _check_input(source: Tensor) -> None:
    if source.type != "FLOAT32" and not (source.type in _CODES and source.quantization):
        raise UnsupportedError(
            f"the model's input {source.name!r} is {source.type}; only FLOAT32 and quantised INT8 "
            "and UINT8 are supported"
        )
    if not source.shape or min(source.shape) < 1 or -1 in source.signature[1:]:
        raise UnsupportedError(
            f"the model's input {source.name!r} has shape {list(source.signature)}; all sizes but "
            "the first, the batch, must be fixed: export the model with a fixed input shape"
        )


def _check_layer(model: Model, code: str, number: int) -> None:
    """In a quantised file, a layer that takes float or unsigned codes is not to be had."""
    tensor = model.tensors[number]
    if tensor.type == "UINT8":
        raise UnsupportedError(
            f"the model is quantised in the old way, with unsigned codes (tensor {tensor.name!r} "
            f"of a {code} is UINT8): {_ADVICE}"
        )
    if tensor.type != "INT8" and tensor.value is None:
        raise UnsupportedError(
            f"the model is quantised in part only: its {code} of tensor {tensor.name!r} computes "
            f"in {tensor.type}; {_ADVICE}"
        )
