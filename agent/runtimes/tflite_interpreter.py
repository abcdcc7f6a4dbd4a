"""The one place where TFLite's interpreters are imported, with their errors in our words.

There are two packages with the same interpreter: ai-edge-litert, and its forerunner tflite-runtime,
whose last version has no wheels from Python 3.12 on and breaks with NumPy 2. The import succeeds
even then, and only making an interpreter fails; so it is NumPy's version that is asked.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.errors import RuntimeUnavailableError
from agent.runtimes.quiet import quietly

Result = TypeVar("Result")
Array = NDArray[Any]
_ERRORS = (RuntimeError, TypeError, ValueError)
"""What TFLite raises: errors of its own it has none."""

_GREETED = threading.Event()
"""Set when TFLite has greeted on the standard error, which it does once in a process."""

_WANTED = "the bundle wants the runtime tflite"
_IS_64_BIT = sys.maxsize > 2**32
_INSTALL = f"python -m pip install 'npp-agent[{'litert' if _IS_64_BIT else 'tflite'}]'"


@dataclass(frozen=True)
class Backend:
    """One of the two packages, loaded."""

    name: str
    interpreter: Callable[..., Any]

    @property
    def version(self) -> str:
        """As it is installed; for messages alone, as finding it takes more than a megabyte."""
        from importlib import metadata  # noqa: PLC0415 - see above

        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return "of unknown version"


@dataclass(frozen=True)
class Affine:
    """What a tensor's codes stand for: (code − zero_point) × step."""

    step: float
    zero_point: int


def imported() -> Backend:
    """The package that there is, ai-edge-litert before tflite-runtime.

    Raises:
        RuntimeUnavailableError: there is none, or none that works here.
    """
    try:
        module = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        return _forerunner(error)
    return Backend("ai-edge-litert", module.Interpreter)


def _forerunner(missing: ImportError) -> Backend:
    if importlib.util.find_spec("tflite_runtime") is None:
        raise RuntimeUnavailableError(
            f"{_WANTED}, and neither ai-edge-litert nor tflite-runtime can be imported here "
            f"({missing}); install it: {_INSTALL}"
        ) from missing
    if int(np.__version__.split(".")[0]) >= 2:
        raise RuntimeUnavailableError(
            f"{_WANTED}, and tflite-runtime, which is installed here, breaks with NumPy 2, and "
            f"NumPy {np.__version__} is installed; install ai-edge-litert: {_INSTALL}, or an older "
            "NumPy: python -m pip install 'numpy<2'"
        ) from missing
    try:
        module = importlib.import_module("tflite_runtime.interpreter")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"{_WANTED}, and tflite-runtime cannot be imported here ({error}); install "
            f"ai-edge-litert: {_INSTALL}"
        ) from error
    return Backend("tflite-runtime", module.Interpreter)


class TfliteModel:
    """A `.tflite` file that an interpreter has loaded; one thread, on the processor.

    It may be used from several threads: they wait for one another.

    Args:
        backend: what `imported` gave.
        content: the file, which has one input.
        name: what messages call it.

    Raises:
        RuntimeUnavailableError: this interpreter does not take the file.
    """

    def __init__(self, backend: Backend, content: bytes, name: str) -> None:
        """Load the file, all memory included."""
        self._backend, self._name = backend, name
        self._one_at_a_time = threading.Lock()
        with contextlib.nullcontext() if _GREETED.is_set() else quietly():
            self._interpreter = self._translated(
                lambda: backend.interpreter(model_content=content, num_threads=1)
            )
            self._translated(self._interpreter.allocate_tensors)
        _GREETED.set()
        entry = self._interpreter.get_input_details()[0]
        self._input = int(entry["index"])
        self.input_shape = tuple(int(size) for size in entry["shape"])
        self.input_dtype = np.dtype(entry["dtype"])
        details = self._interpreter.get_output_details()
        self._outputs = {str(one["name"]): int(one["index"]) for one in details}
        self.codes: Mapping[str, Affine] = {
            str(one["name"]): Affine(float(one["quantization"][0]), int(one["quantization"][1]))
            for one in details
        }

    def run(self, value: Array, names: Collection[str] | None = None) -> dict[str, Array]:
        """The outputs for an input of `input_shape` and `input_dtype`, by name; all are copies.

        Args:
            value: the input.
            names: of the outputs that are wanted; None: all of them.

        Raises:
            RuntimeUnavailableError: the interpreter fails.
        """
        wanted = self._outputs if names is None else {n: self._outputs[n] for n in names}
        return self._translated(lambda: self._run(value, wanted))

    def _run(self, value: Array, wanted: Mapping[str, int]) -> dict[str, Array]:
        with self._one_at_a_time:  # an interpreter has one input, and other threads may want it
            self._interpreter.set_tensor(self._input, value)
            self._interpreter.invoke()
            # `get_tensor` copies; a view of the memory would change with the next run.
            return {name: self._interpreter.get_tensor(i) for name, i in wanted.items()}

    def _translated(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except _ERRORS as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise RuntimeUnavailableError(
                f"{self._backend.name} {self._backend.version} cannot run {self._name} of the "
                f"bundle: {first}; try another version of it, or pack the model with --runtime cim"
            ) from error
