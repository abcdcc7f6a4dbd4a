"""The one place where onnxruntime is imported: its sessions, and its errors in our words."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.errors import RuntimeUnavailableError
from agent.runtimes.onnx_bytes import onnx_model
from calib.graph.model import Graph

Result = TypeVar("Result")
_ERRORS = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NotImplemented",
    "RuntimeException",
)
"""What onnxruntime raises of its own; all derive from Exception directly."""


OLDEST = (1, 17)
"""The version of onnxruntime that reads our models (`agent.runtimes.onnx_bytes`)."""


def imported() -> Any:
    """The package onnxruntime.

    Raises:
        RuntimeUnavailableError: it is not installed, cannot be loaded, or is too old.
    """
    try:
        return checked(importlib.import_module("onnxruntime"))
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"the bundle wants the runtime onnxruntime, which cannot be imported here ({error}); "
            "install it: python -m pip install 'npp-agent[onnx]'"
        ) from error


def checked(package: Any) -> Any:
    """The package, if its version is one that runs our bundles.

    Raises:
        RuntimeUnavailableError: it is too old.
    """
    version = str(package.__version__)
    numbers = re.findall(r"\d+", version)
    if tuple(map(int, numbers[:2])) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise RuntimeUnavailableError(
            f"the bundle needs onnxruntime {needed} or later, and {version} is installed: "
            "python -m pip install -U 'npp-agent[onnx]'"
        )
    return package


class OnnxSession:
    """A graph that onnxruntime has loaded; one thread, on the processor.

    Args:
        package: what `imported` gave.
        graph: see `agent.runtimes.onnx_bytes`.
        outputs: the tensors that a run gives; each is made in the graph, and named once.
        integer: fuse what stands between dequantise and quantise into integer kernels. Else weights
            stay as they are: onnxruntime would make 8 bits of float ones, too.
        fuse: let onnxruntime rewrite the graph. Without, each node is a kernel of its own, which is
            slow and rounds a little differently: to see by how much.

    Raises:
        RuntimeUnavailableError: this onnxruntime does not take the graph.
    """

    def __init__(
        self,
        package: Any,
        graph: Graph,
        outputs: Sequence[str],
        *,
        integer: bool = True,
        fuse: bool = True,
    ) -> None:
        """Load the graph."""
        self._package = package
        self._input = graph.input.name
        self._outputs = tuple(outputs)
        options = package.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised; stderr is ours
        options.add_session_config_entry("session.disable_quant_qdq", "0" if integer else "1")
        if not fuse:
            options.graph_optimization_level = package.GraphOptimizationLevel.ORT_DISABLE_ALL
        content = onnx_model(graph, outputs)
        self._session = self._translated(
            lambda: package.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        )

    def run(self, samples: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The outputs for samples [n, ...], by name.

        Raises:
            RuntimeUnavailableError: onnxruntime fails.
        """
        feeds = {self._input: np.ascontiguousarray(samples, np.float32)}
        found = self._translated(lambda: self._session.run(self._outputs, feeds))
        return dict(zip(self._outputs, found, strict=True))

    def _translated(self, work: Callable[[], Result]) -> Result:
        state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
        errors = tuple(getattr(state, name) for name in _ERRORS if hasattr(state, name))
        try:
            return work()
        except errors as error:
            first = str(error).strip().splitlines()[0][:300]
            raise RuntimeUnavailableError(
                f"onnxruntime {self._package.__version__} cannot run the network: {first}; pack it "
                "with --runtime cim, or try another version of onnxruntime (1.17 or later)"
            ) from error
