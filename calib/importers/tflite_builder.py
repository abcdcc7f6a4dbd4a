"""Builds the graph of a TFLite model, keeping track of where each tensor's channels lie.

TFLite is channels-last (NHWC), the graph's convolutions and poolings are NCHW. A tensor may exist
in either form or in both: an operator asks for the form it needs, and a Transpose is made only
when that form does not exist yet. So a chain of convolutions has one at each end.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from calib.errors import GraphError, UnsupportedError
from calib.graph.model import Array, Attribute, Node
from calib.importers.names import tensorflow_layer, unique
from calib.importers.tflite_file import Model, Operator, Quantization

TO_FIRST = (0, 3, 1, 2)
TO_LAST = (0, 2, 3, 1)
_SLOT = (0, 2, 3, 1)
"""Where the NHWC axes lie in NCHW."""


class Builder:
    """Collects nodes and constants; lives only while one model is read."""

    def __init__(self, model: Model) -> None:
        """Start with an empty graph."""
        self.model = model
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self._last: dict[int, str] = {}
        self._first: dict[int, str] = {}
        self._values: dict[int, Array] = {}
        self._taken: set[str] = set()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape that the file declares, channels last."""
        return self.model.tensors[tensor].shape

    def value(self, tensor: int) -> Array | None:
        """A constant tensor's contents as float (integers that are no codes stay integers)."""
        if tensor not in self._values:
            stored = self.model.tensors[tensor]
            if stored.value is None:
                return None
            self._values[tensor] = dequantised(stored.value, stored.quantization)
        return self._values[tensor]

    def known(self, tensor: int, what: str) -> Array:
        """A value that has to be constant.

        Raises:
            UnsupportedError: it is computed.
        """
        value = self.value(tensor) if tensor >= 0 else None
        if value is None:
            raise UnsupportedError(f"its {what} must be constant in the file, but is computed")
        return value

    def integers(self, tensor: int, what: str) -> tuple[int, ...]:
        """A constant tensor of integers, flat."""
        return tuple(int(v) for v in self.known(tensor, what).reshape(-1))

    def set_value(self, tensor: int, value: Array) -> None:
        """Declare a tensor to be constant."""
        self._values[tensor] = value

    def layer_name(self, operator: Operator, weight: int = -1) -> str:
        """A readable name: the layer's, else the operator's."""
        tensors = [t for t in (weight, *operator.outputs[:1]) if t >= 0]
        layers = (tensorflow_layer(self.model.tensors[t].name) for t in tensors)
        return next((layer for layer in layers if layer), operator.code.lower())

    def reserve(self, name: str) -> str:
        """A name not given to anything yet."""
        name = unique(name, self._taken)
        self._taken.add(name)
        return name

    def constant(self, name: str, value: Array) -> str:
        """Enter a constant; returns its name."""
        name = self.reserve(name)
        self.constants[name] = value
        return name

    def indices(self, name: str, values: tuple[int, ...]) -> str:
        """Enter a constant list of integers."""
        return self.constant(name, np.array(values, np.int64))

    def node(
        self, op: str, name: str, inputs: list[str], *, outputs: int = 1, **attributes: Attribute
    ) -> list[str]:
        """Add a node; returns the names of its outputs."""
        name = self.reserve(name)
        made = [name, *(self.reserve(f"{name}/{i}") for i in range(1, outputs))]
        self.nodes.append(
            Node(name, op, tuple(inputs), tuple(made), MappingProxyType(dict(attributes)))
        )
        return made

    def alias(self, tensor: int, source: int) -> None:
        """Say that a tensor has the values of another one."""
        value = self.value(source)
        if value is not None:
            self.set_value(tensor, value)
            return
        for known in (self._first, self._last):
            if source in known:
                known[tensor] = known[source]

    @property
    def carriers(self) -> dict[int, tuple[str, ...]]:
        """By number of a computed tensor: what carries its values, the file's own layout first."""
        tensors = {**self._first, **self._last}
        forms = (self._last, self._first)
        return {t: tuple(form[t] for form in forms if t in form) for t in tensors}

    def define(self, tensor: int, name: str, *, first: bool = False) -> None:
        """Say what carries a tensor of the file, channels first or as the file has it."""
        (self._first if first else self._last)[tensor] = name

    def last(self, tensor: int) -> str:
        """The tensor as the file lays it out."""
        if tensor not in self._last:
            if tensor in self._first:
                source = self._first[tensor]
                made = self.node("Transpose", f"{source}/nhwc", [source], perm=TO_LAST)[0]
            else:
                made = self._constant(tensor)
            self._last[tensor] = made
        return self._last[tensor]

    def first(self, tensor: int) -> str:
        """The tensor as NCHW; a constant is widened to four axes."""
        if tensor not in self._first:
            value = self.value(tensor)
            if value is not None:
                wide = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(TO_FIRST)
                made = self.constant(f"{self._constant_name(tensor)}/nchw", wide)
            else:
                source = self.last(tensor)
                made = self.node("Transpose", f"{source}/nchw", [source], perm=TO_FIRST)[0]
            self._first[tensor] = made
        return self._first[tensor]

    def either(self, tensors: tuple[int, ...]) -> tuple[list[str], bool]:
        """The tensors in one common form, and whether that is channels first.

        Channels first is chosen where one of them has that form and all can take it.
        """
        computed = [t for t in tensors if self.value(t) is None]
        fits = all(len(self.shape(t)) == 4 for t in computed)
        if fits and any(t in self._first for t in computed):
            return [self.first(t) for t in tensors], True
        return [self.last(t) for t in tensors], False

    def flat(self, tensor: int) -> str:
        """A form whose elements lie in the file's order: what Reshape needs."""
        if tensor in self._first and tensor not in self._last:
            _, height, width, channels = self.shape(tensor)
            if height * width == 1 or channels == 1:
                return self._first[tensor]
        return self.last(tensor)

    def _constant(self, tensor: int) -> str:
        value = self.value(tensor)
        if value is None:
            raise GraphError(
                f"tensor {self.model.tensors[tensor].name!r} is read before anything makes it; "
                "the model is damaged or was cut: export it again"
            )
        return self.constant(self._constant_name(tensor), value)

    def _constant_name(self, tensor: int) -> str:
        return self.model.tensors[tensor].name.split(";")[-1] or f"constant_{tensor}"


def slots(axes: tuple[int, ...], rank: int, *, first: bool) -> tuple[int, ...]:
    """Axes of the file's layout as axes of the chosen form; negative ones count from the end.

    Raises:
        GraphError: an axis that the tensor does not have.
    """
    if any(not -rank <= axis < rank for axis in axes):
        raise GraphError(f"axes {list(axes)} do not exist in a tensor of {rank} axes")
    positive = tuple(axis % rank for axis in axes)
    return tuple(_SLOT[axis] for axis in positive) if first else positive


def dequantised(codes: Array, quantization: Quantization | None) -> Array:
    """Codes as the float values they stand for; half floats widened, other arrays as they are."""
    if codes.dtype in (np.float16, np.float64):
        return codes.astype(np.float32)
    if quantization is None or codes.dtype.kind not in "iu":
        return codes
    along = [1] * codes.ndim
    if quantization.scale.size > 1:
        along[quantization.axis] = -1
    scale = quantization.scale.reshape(along)
    zero = quantization.zero_point.astype(np.float32)
    centred = codes.astype(np.float32) - (zero.reshape(along) if zero.size > 1 else zero)
    return np.asarray(centred * scale, np.float32)
