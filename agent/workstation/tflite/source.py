"""The user's TFLite file, as it is read and as it is copied from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent.errors import InputError
from calib.decision import decision_graph
from calib.graph.linear import LinearLayer
from calib.graph.model import Graph
from calib.importers.tflite_file import Model, Operator, read_tflite
from calib.importers.tflite_forms import is_quantised
from calib.importers.tflite_graph import Origin, traced
from calib.importers.tflite_schema import unpacked


@dataclass(frozen=True)
class TfliteSource:
    """A file that was read without complaint.

    Args:
        model: its content, plain.
        objects: the same as the schema's objects, which operators are copied from.
        origin: where in it each part of the network comes from.
        graph: the network, with nothing folded into its layers.
    """

    model: Model
    objects: Any
    origin: Origin
    graph: Graph

    @cached_property
    def is_quantised(self) -> bool:
        """Whether the file computes with codes of its own."""
        return is_quantised(self.model)

    def operator(self, layer: LinearLayer) -> Operator:
        """The one that computes a layer."""
        return self.model.operators[self.origin.operators[layer.name]]

    @cached_property
    def answer(self) -> int:
        """The tensor of the logits.

        Raises:
            InputError: no tensor of the file has them.
        """
        wanted = decision_graph(self.graph).output
        found = [t for t, names in self.origin.carriers.items() if names[0] == wanted]
        if not found:
            raise InputError(
                "the model ends in a SOFTMAX with a factor of its own, so that its logits are no "
                "tensor; export it without that SOFTMAX"
            )
        return found[-1]

    @cached_property
    def live(self) -> list[int]:
        """The operators that the logits need, in order; what only makes constants is none."""
        needed, live = {self.answer}, []
        for number in reversed(self.origin.live):
            operator = self.model.operators[number]
            if needed.intersection(operator.outputs):
                live.append(number)
                needed.update(t for t in operator.inputs if t not in self.origin.constants)
        return live[::-1]


def tflite_source(content: bytes, graph: Graph) -> TfliteSource:
    """A file whose network has been read.

    Args:
        content: the file.
        graph: its network, with nothing folded into its layers.

    Raises:
        InputError: the file is for several samples at once.
    """
    model = read_tflite(content, graph.name)
    shape = model.tensors[model.inputs[0]].shape
    if shape[0] != 1:
        raise InputError(
            f"the model takes {shape[0]} samples at once (input of shape {list(shape)}), and the "
            "runtime tflite runs one: export it for a batch of 1, or pack it for another runtime"
        )
    return TfliteSource(model, unpacked(content), traced(model, graph.name), graph)
