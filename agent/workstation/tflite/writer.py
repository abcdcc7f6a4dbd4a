"""A `.tflite` file while it is being written: tensors, operators, and what is between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calib.importers.names import unique
from calib.importers.tflite_codes import SIGNED_ZERO
from calib.importers.tflite_schema import (
    Affine,
    add_operator,
    add_tensor,
    empty_model,
    operator_number,
    options_of,
    packed,
)
from calib.schemes.activations import ActivationCode

Array = NDArray[Any]
Options = tuple[int, Any]
NO_OPTIONS: Options = (0, None)

NONE, RELU, RELU6 = 0, 1, 3
"""Of ActivationFunctionType."""

QUANTIZE_VERSION, DEQUANTIZE_VERSION = 1, 2


class Writer:
    """Collects the parts of one file; tensors are known by their numbers in it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._model = empty_model()
        self._taken: set[str] = set()
        self._shapes: list[tuple[int, ...]] = []
        self._names: list[str] = []

    def name(self, tensor: int) -> str:
        """A tensor's name, which no other has."""
        return self._names[tensor]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._shapes[tensor]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        affine: Affine | None = None,
        value: Array | None = None,
    ) -> int:
        """Enter a tensor, constant where it has a value."""
        name = unique(name, self._taken)
        self._taken.add(name)
        self._names.append(name)
        self._shapes.append(tuple(shape))
        return add_tensor(self._model, name, shape, dtype, affine, value)

    def floats(self, name: str, shape: Sequence[int]) -> int:
        """A tensor of computed float32."""
        return self.tensor(name, shape, "float32")

    def codes(
        self, name: str, shape: Sequence[int], code: ActivationCode, dtype: str = "int8"
    ) -> int:
        """A tensor of computed codes."""
        return self.tensor(name, shape, dtype, affine_of(code, dtype))

    def constant(self, name: str, value: Array, affine: Affine | None = None) -> int:
        """A constant tensor."""
        return self.tensor(name, value.shape, value.dtype.name, affine, value)

    def operator(
        self,
        code: str,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options = NO_OPTIONS,
    ) -> None:
        """Enter an operator behind the others."""
        number = operator_number(self._model, code, version)
        add_operator(self._model, number, inputs, outputs, options)

    def quantized(self, source: int, code: ActivationCode, dtype: str) -> int:
        """The codes of a float tensor."""
        made = self.codes(f"{self.name(source)}/codes", self.shape(source), code, dtype)
        options = options_of("QuantizeOptions")
        self.operator("QUANTIZE", QUANTIZE_VERSION, [source], [made], options)
        return made

    def dequantized(self, source: int) -> int:
        """What a tensor's codes stand for."""
        made = self.floats(f"{self.name(source)}/values", self.shape(source))
        options = options_of("DequantizeOptions")
        self.operator("DEQUANTIZE", DEQUANTIZE_VERSION, [source], [made], options)
        return made

    def reshaped(self, source: int, shape: Sequence[int], made: int) -> int:
        """RESHAPE of one tensor into another, which is given back."""
        wanted = self.constant(f"{self.name(made)}/shape", np.array(shape, np.int32))
        options = options_of("ReshapeOptions", newShape=np.array(shape, np.int32))
        self.operator("RESHAPE", 1, [source, wanted], [made], options)
        return made

    def added(self, one: int, other: int, activation: int, name: str) -> int:
        """The sum of two float tensors, of the first one's shape."""
        made = self.floats(name, self.shape(one))
        options = options_of("AddOptions", fusedActivationFunction=activation)
        self.operator("ADD", 1, [one, other], [made], options)
        return made

    def file(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file's bytes."""
        graph = self._model.subgraphs[0]
        graph.inputs, graph.outputs = (np.array(ends, np.int32) for ends in (inputs, outputs))
        graph.name = "main"
        return packed(self._model)


def affine_of(code: ActivationCode, dtype: str = "int8") -> Affine:
    """Our code as TFLite has it: signed ones count from −128."""
    lowest = SIGNED_ZERO if dtype == "int8" else 0
    return Affine(np.array([code.step], np.float32), code.zero_point - lowest)
