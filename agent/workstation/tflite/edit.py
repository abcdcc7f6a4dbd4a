"""The user's graph, operator after operator, with its layers quantised and branches beside them.

    codes → kernel → codes → dequantised → + → activation → codes → what comes next
      └──→ dequantised → A → B ────────────↗

A layer without a branch is its kernel alone, with the activation in it. Before the activation
(`pre-activation`), a branch can lift what the main path has clamped, and the kernel's own codes are
two-sided; behind it (`post-activation`) the kernel stays as it is in the user's file, and zero
factors change no bit of a quantised file's answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.runtimes.tflite_plan import PRE_ACTIVATION, TapTensors
from agent.workstation.tflite.codes import Codes
from agent.workstation.tflite.design import Design
from agent.workstation.tflite.kernels import INT8_VERSIONS, has_int8_form
from agent.workstation.tflite.layers import Branch, Product, branch, entered, made_shape, product
from agent.workstation.tflite.source import TfliteSource
from agent.workstation.tflite.writer import NONE, RELU, Writer, affine_of
from calib.given import GIVEN_BITS
from calib.importers.tflite_file import Operator
from calib.importers.tflite_schema import Affine, version_of
from calib.schemes.activations import ActivationCode, code_for_range

FLOAT, INT8 = "float32", "int8"


@dataclass(frozen=True)
class WrittenLayer:
    """A layer in a file, by the numbers of its tensors."""

    product: Product
    branch: Branch | None


@dataclass(frozen=True)
class WrittenGraph:
    """A file, and where in it the layers are."""

    content: bytes
    layers: Mapping[str, WrittenLayer]
    taps: Mapping[str, TapTensors]


@dataclass(frozen=True)
class Recipe:
    """What graphs are written from."""

    source: TfliteSource
    codes: Codes
    designs: Mapping[int, Design]
    """By operator of the file."""

    surrogates_at: str


def written_graph(recipe: Recipe, *, tapped: bool) -> WrittenGraph:
    """The graph in use, or the same with more outputs that show its layers."""
    return _Edit(recipe, tapped=tapped).run()


class _Edit:
    """One file while it is being written; tensors of the user's file are known by number."""

    def __init__(self, recipe: Recipe, *, tapped: bool) -> None:
        self._recipe, self._source, self._codes = recipe, recipe.source, recipe.codes
        self._tensors = recipe.source.model.tensors
        self._tapped = tapped
        self._writer = Writer()
        self._forms: dict[tuple[int, str], int] = {}
        self._decoded: dict[int, int] = {}
        self._layers: dict[str, WrittenLayer] = {}
        self._taps: dict[str, TapTensors] = {}
        self._outputs: list[int] = []

    def run(self) -> WrittenGraph:
        """Write all that the logits need."""
        model, writer = self._source.model, self._writer
        entry = self._tensors[model.inputs[0]]
        start = writer.floats(self._source.graph.input.name, entry.shape)
        self._forms[model.inputs[0], FLOAT] = start
        for number in self._source.live:
            if number in self._recipe.designs:
                self._layer(model.operators[number], self._recipe.designs[number])
            else:
                self._other(number, model.operators[number])
        answer = self._form(self._source.answer, FLOAT)
        outputs = list(dict.fromkeys([answer, *self._outputs]))
        return WrittenGraph(writer.file([start], outputs), self._layers, self._taps)

    def _form(self, tensor: int, dtype: str) -> int:
        """A tensor of the user's file as codes or as float32."""
        if (tensor, dtype) not in self._forms:
            self._forms[tensor, dtype] = self._converted(tensor, dtype)
        return self._forms[tensor, dtype]

    def _converted(self, tensor: int, dtype: str) -> int:
        if dtype == FLOAT:
            known = next(k for k in (INT8, "uint8") if (tensor, k) in self._forms)
            return self._writer.dequantized(self._forms[tensor, known])
        if (tensor, FLOAT) not in self._forms:  # of the other sign
            self._form(tensor, FLOAT)
        return self._writer.quantized(self._forms[tensor, FLOAT], self._codes[tensor], dtype)

    def _label(self, tensor: int) -> str:
        return self._tensors[tensor].name.split(";")[0] or f"tensor_{tensor}"

    def _constant(self, tensor: int, *, as_codes: bool) -> int:
        """A constant: numbers as they are, values as float32 or as codes of their own."""
        stored, label = self._tensors[tensor], self._label(tensor)
        value = self._source.origin.constants[tensor]
        if value.dtype.kind != "f":
            return self._writer.constant(label, value)
        if self._source.is_quantised and stored.value is not None and stored.quantization:
            code = stored.quantization
            zero = int(code.zero_point[0])
            return self._writer.constant(label, stored.value, Affine(code.scale, zero, code.axis))
        if not as_codes:
            return self._writer.constant(label, value.astype(np.float32))
        own = code_for_range(float(value.min()), float(value.max()), GIVEN_BITS)
        codes = (own.encode(np.atleast_1d(value)) ^ np.uint8(128)).view(np.int8)
        return self._writer.constant(label, codes.reshape(value.shape), affine_of(own))

    def _other(self, number: int, operator: Operator) -> None:
        """An operator that is no layer: in the types of a quantised file, or as `kernels` says."""
        model = self._source.model
        as_codes = not self._source.is_quantised and has_int8_form(model, operator)
        item = self._source.objects.subgraphs[0].operators[number]
        version = version_of(self._source.objects, item)
        version = INT8_VERSIONS[operator.code] if as_codes else version
        read = operator.inputs[:1] if operator.code == "RESHAPE" else operator.inputs
        inputs = [self._input(t, as_codes=as_codes) for t in read]
        outputs = [self._output(t, as_codes=as_codes) for t in operator.outputs]
        if operator.code == "RESHAPE":  # to the shape that the file declares for what it makes
            self._writer.reshaped(inputs[0], self._writer.shape(outputs[0]), outputs[0])
            return
        options = (item.builtinOptionsType, item.builtinOptions)
        self._writer.operator(operator.code, version, inputs, outputs, options)

    def _input(self, tensor: int, *, as_codes: bool) -> int:
        if tensor < 0:
            return tensor
        if tensor in self._source.origin.constants:
            return self._constant(tensor, as_codes=as_codes)
        return self._form(tensor, self._dtype(tensor, as_codes=as_codes))

    def _output(self, tensor: int, *, as_codes: bool) -> int:
        dtype = self._dtype(tensor, as_codes=as_codes)
        shape, label = self._tensors[tensor].shape, self._label(tensor)
        if dtype == FLOAT:
            made = self._writer.floats(label, shape)
        else:
            made = self._writer.codes(label, shape, self._codes[tensor], dtype)
        self._forms[tensor, dtype] = made
        return made

    def _dtype(self, tensor: int, *, as_codes: bool) -> str:
        if self._source.is_quantised:
            return self._tensors[tensor].type.lower()
        return INT8 if as_codes else FLOAT

    def _layer(self, operator: Operator, design: Design) -> None:
        writer, name = self._writer, design.layer.name
        given = self._form(operator.inputs[0], INT8)
        source = entered(writer, design, given)
        target = operator.outputs[0]
        shape = made_shape(design, self._tensors[target].shape)
        if design.rank or design.late_bias is not None:
            corrected = self._corrected(design, source, target, shape)
        else:
            code, fused = self._codes[target], design.activation
            made = product(writer, design, source, shape, label=name, code=code, activation=fused)
            self._layers[name] = WrittenLayer(made, None)
            self._forms[target, INT8] = self._declared(made.output, target, code)
            corrected = made.output if fused == NONE else None
        if self._tapped:
            self._tap(design, given, source, shape, corrected)

    def _corrected(
        self, design: Design, source: int, target: int, shape: tuple[int, ...]
    ) -> int | None:
        """A layer that ends in float; the tensor of the sum before the activation, if there is."""
        writer, name = self._writer, design.layer.name
        before = self._recipe.surrogates_at == PRE_ACTIVATION or design.late_bias is not None
        code = design.main if before else self._codes[target]
        fused = NONE if before else design.activation
        made = product(
            writer, design, source, shape, label=f"{name}/kernel", code=code, activation=fused
        )
        total, added, seen = writer.dequantized(made.output), None, made.output
        left = design.activation if before else NONE
        here = NONE if self._tapped or design.late_bias is not None else left
        if design.rank:
            added = branch(writer, design, self._values(source), shape)
            total = seen = writer.added(total, added.output, here, f"{name}/sum")
        if design.late_bias is not None:
            bias = writer.constant(f"{name}/late_bias", design.late_bias)
            here = NONE if self._tapped else left
            total = writer.added(total, bias, here, f"{name}/biased")
        if here != left:
            total = self._activated(total, left, name)
        self._layers[name] = WrittenLayer(made, added)
        self._forms[target, FLOAT] = self._declared(total, target, None)
        return seen if before or design.activation == NONE else None

    def _activated(self, source: int, activation: int, name: str) -> int:
        code = "RELU" if activation == RELU else "RELU6"
        made = self._writer.floats(f"{name}/activated", self._writer.shape(source))
        self._writer.operator(code, 1, [source], [made])
        return made

    def _declared(self, made: int, target: int, code: ActivationCode | None) -> int:
        """What a kernel made in the shape that the user's file declares."""
        shape = self._tensors[target].shape
        if self._writer.shape(made) == shape:
            return made
        label, writer = self._label(target), self._writer
        ends = writer.codes(label, shape, code) if code else writer.floats(label, shape)
        return writer.reshaped(made, shape, ends)

    def _values(self, codes: int) -> int:
        """What the codes that a layer is given stand for; made once for all that read them."""
        if codes not in self._decoded:
            self._decoded[codes] = self._writer.dequantized(codes)
        return self._decoded[codes]

    def _tap(
        self,
        design: Design,
        given: int,
        source: int,
        shape: tuple[int, ...],
        corrected: int | None,
    ) -> None:
        """Outputs that show a layer: its codes, its nominal self, the corrected sum."""
        label = f"{design.layer.name}/nominal"
        nominal = product(self._writer, design, source, shape, label=label, code=design.main)
        seen = [given, nominal.output, *([] if corrected is None else [corrected])]
        self._outputs += seen
        names = [self._writer.name(tensor) for tensor in seen]
        self._taps[design.layer.name] = TapTensors(
            names[0], names[1], names[2] if corrected is not None else None
        )
