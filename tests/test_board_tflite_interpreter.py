"""Finding an interpreter, and what is said where there is none; its greeting stays unheard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.errors import RuntimeUnavailableError
from agent.runtimes.tflite_interpreter import TfliteModel, imported
from agent.runtimes.tflite_plan import MODEL_NAME
from tests.board_bundles import SMALL, bundle_in, package_in
from tests.small_networks import samples_for

ROOT = Path(__file__).resolve().parents[1]
X = samples_for(SMALL, 3)


def python(script: str, *arguments: object, path: Path | None = None) -> tuple[int, str, str]:
    """Run a script in a process of its own; another folder may come first on its path."""
    first = f"import sys; sys.path[:0] = {[str(path)] if path else []} + [{str(ROOT)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", first + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


FOUND = """
from agent.errors import RuntimeUnavailableError
from agent.runtimes.tflite_interpreter import imported
try:
    print(imported())
except RuntimeUnavailableError as error:
    print(error)
"""


def fake(folder: Path, name: str, content: str) -> Path:
    """A folder with a package of this name whose interpreter module holds this."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "interpreter.py").write_text(content)
    return folder


ABSENT = "sys.modules['ai_edge_litert'] = None\n"


def test_the_successor_comes_first(tmp_path: Path) -> None:
    both = fake(fake(tmp_path, "ai_edge_litert", "Interpreter = 1"), "tflite_runtime", "")
    code, out, err = python(FOUND, path=both)
    assert (code, err) == (0, "")
    assert "name='ai-edge-litert'" in out


def test_without_any_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import importlib.util\n_find = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name: None\n"
    code, out, _ = python(ABSENT + hidden + FOUND, path=tmp_path)
    assert code == 0
    assert "neither ai-edge-litert nor tflite-runtime can be imported here" in out
    assert "python -m pip install 'npp-agent[litert]'" in out
    assert out.count("\n") == 1


def test_the_forerunner_is_not_even_imported_beside_numpy_2(tmp_path: Path) -> None:
    path = fake(tmp_path, "tflite_runtime", "raise SystemExit('imported')")
    claimed = "import numpy; numpy.__version__ = '2.1.3'\n"
    code, out, _ = python(ABSENT + claimed + FOUND, path=path)
    assert code == 0
    assert "breaks with NumPy 2, and NumPy 2.1.3 is installed" in out
    assert "python -m pip install 'numpy<2'" in out


def test_the_forerunner_serves_beside_numpy_1(tmp_path: Path) -> None:
    path = fake(tmp_path, "tflite_runtime", "Interpreter = 1")
    claimed = "import numpy; numpy.__version__ = '1.26.4'\n"
    code, out, _ = python(ABSENT + claimed + FOUND, path=path)
    assert code == 0
    assert "name='tflite-runtime'" in out
    broken = fake(tmp_path / "broken", "tflite_runtime", "raise ImportError('libfoo.so is old')")
    code, out, _ = python(ABSENT + claimed + FOUND, path=broken)
    assert code == 0
    assert "tflite-runtime cannot be imported here (libfoo.so is old)" in out


RUN = """
import os, numpy
from pathlib import Path
from agent.runtimes.open import runtime_of
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from calib.factors import no_factors
package = read_package(open_bundle(Path(sys.argv[1])))
network = package.network
runtime = runtime_of(package, None, None, numpy.random.default_rng(0))
samples = numpy.zeros((2, *network.graph.input.shape[1:]), numpy.float32)
print(runtime.run(samples, no_factors(network.layers), {}).answers.shape)
"""


def test_the_standard_error_stays_ours(board_bundles: Path) -> None:
    bundle = bundle_in(board_bundles, "int8")
    assert python(RUN, bundle) == (0, "(2, 5)\n", "")
    closed = "import os; os.close(2)\n"  # as some services have it
    assert python(closed + RUN, bundle) == (0, "(2, 5)\n", "")


def test_what_is_no_greeting_is_passed_on() -> None:
    script = """
import os
from agent.runtimes.quiet import quietly
os.write(2, b"before\\n")
try:
    with quietly():
        os.write(2, b"INFO: hello\\nERROR: look\\nI0000 00:00 hello\\nINFO is all I say\\nhalf")
        raise ValueError
except ValueError:
    os.write(2, b"\\nafter\\n")
"""
    code, _, err = python(script)
    assert code == 0
    assert err == "before\nERROR: look\nINFO is all I say\nhalf\nafter\n"


@pytest.mark.parametrize("content", [b"", b"no flatbuffer", bytes(4000)])
def test_what_an_interpreter_refuses_is_one_sentence(content: bytes) -> None:
    backend = imported()
    with pytest.raises(
        RuntimeUnavailableError, match=r"cannot run odd\.tflite of the bundle: "
    ) as e:
        TfliteModel(backend, content, "odd.tflite")
    said = str(e.value)
    assert said.startswith(f"{backend.name} {backend.version} cannot run")
    assert "\n" not in said


def test_results_are_copies_and_bad_input_is_one_sentence(board_bundles: Path) -> None:
    content = package_in(board_bundles, "int8").files[MODEL_NAME]
    model = TfliteModel(imported(), content, MODEL_NAME)
    (first,) = model.run(X[:1]).values()
    kept = first.copy()
    (second,) = model.run(X[1:2]).values()
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    assert np.abs(second - first).max() > 0
    for odd in (X[:1, :1], X[:1].astype(np.float64)):
        with pytest.raises(RuntimeUnavailableError, match=f"cannot run {MODEL_NAME}"):
            model.run(odd)
