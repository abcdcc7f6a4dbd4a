"""The rules of the house: who may import whom, what ships, how large a room may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import agent

ROOT = Path(__file__).resolve().parents[1]
OURS = ("agent", "calib", "device_models")

# Which floors a floor may stand on, besides itself.
BELOW = {
    "device_models": set(),
    "calib": set(),
    "agent": {"calib", "device_models"},
    "tools": {"agent", "calib", "device_models"},
}

# The one folder that may import each foreign package. NumPy is everywhere.
HOME_OF = {
    "click": "agent/cli",
    "onnx": "calib/importers",
    "google.protobuf": "calib/importers",  # part of onnx: its files are protobuf messages
    "flatbuffers": "calib/importers",
    "ai_edge_litert.schema_py_generated": "calib/importers",
    "ai_edge_litert.interpreter": "agent/runtimes",
    "tflite_runtime": "agent/runtimes",
    "onnxruntime": "agent/runtimes",
    "matplotlib": "agent/workstation",
    "numba": "device_models",
    "rich": "agent/workstation",
    "distributed": "agent/simulation",
    "serial": "agent/link",
    "cbor2": "agent/link",
    "prometheus_client": "agent/workstation",
    "paho": "agent/workstation",
    "cryptography": "agent/store",
}

# A board has none of these; what imports them at its top is not for a board.
WORKSTATION_ONLY = ("agent.workstation", "calib.importers", "calib.train")
WORKSTATION_COMMANDS = {
    "agent.cli.pack",
    "agent.cli.target",  # options of pack
    "agent.cli.demo",
    "agent.cli.simulate",
    "agent.cli.simulate_life",
}


@dataclass(frozen=True)
class Import:
    """One import statement: where it stands, what it names, whether it runs with its module."""

    file: str
    line: int
    module: str
    at_top: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    dotted = relative(path).removesuffix(".py").replace("/", ".")
    return dotted.removesuffix(".__init__")


def named(node: ast.stmt, file: str) -> list[str]:
    """The modules that a statement imports; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{file}:{node.lineno} imports relatively: write the full name"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def is_for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def statements(body: list[ast.stmt], *, at_top: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for node in body:
        runs = at_top and not is_for_types_only(node)
        yield node, runs
        inside = [child for child in ast.walk(node) if isinstance(child, ast.stmt)][1:]
        in_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for child in inside:
            yield child, runs and not in_function


@cache
def imports(*folders: str) -> tuple[Import, ...]:
    found: list[Import] = []
    for path in sources(*folders):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, at_top in statements(tree.body, at_top=True):
            found += [
                Import(relative(path), node.lineno, module, at_top)
                for module in named(node, relative(path))
            ]
        found += [
            Import(relative(path), call.lineno, name.value, at_top=False)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("import_module")
            for name in call.args[:1]
            if isinstance(name, ast.Constant) and isinstance(name.value, str)
        ]
    return tuple(found)


def is_within(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")


def packages_that_ship() -> list[str]:
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PACKAGES":
            return ast.literal_eval(node.value)
    raise AssertionError("setup.py has no list PACKAGES")


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout: what is committed cannot be known")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_imports_go_down_only() -> None:
    wrong = [
        str(found)
        for found in imports(*BELOW)
        for floor in BELOW
        if is_within(found.module, floor)
        and floor != found.file.split("/")[0]
        and floor not in BELOW[found.file.split("/")[0]]
    ]
    assert wrong == []


def test_nothing_imports_tests() -> None:
    assert [str(found) for found in imports(*BELOW) if is_within(found.module, "tests")] == []


def test_a_foreign_package_is_imported_in_one_folder_only() -> None:
    known = {*OURS, "numpy", *sys.stdlib_module_names}
    wrong = []
    for found in imports(*OURS):
        if found.module.split(".")[0] in known:
            continue
        homes = [home for name, home in HOME_OF.items() if is_within(found.module, name)]
        if not homes or not found.file.startswith(f"{homes[0]}/"):
            wrong.append(f"{found} (its home: {homes[0] if homes else 'none in this table'})")
    assert wrong == []


def test_what_the_board_runs_does_not_need_the_workstation() -> None:
    wrong = [
        str(found)
        for found in imports(*OURS)
        if found.at_top
        and any(is_within(found.module, away) for away in WORKSTATION_ONLY)
        and module_of(ROOT / found.file) not in WORKSTATION_COMMANDS
        and not any(is_within(module_of(ROOT / found.file), away) for away in WORKSTATION_ONLY)
    ]
    assert wrong == []


BOARD = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        away = any(name == a or name.startswith(a + ".") for a in {away!r})
        if away or top not in {allowed!r} | set(sys.stdlib_module_names):
            raise ModuleNotFoundError(f"{{name}} is not on a board", name=name)

sys.meta_path.insert(0, Absent())
for name in {modules!r}:
    importlib.import_module(name)
"""


def test_every_board_module_imports_with_numpy_and_click_alone() -> None:
    modules = [
        module_of(path)
        for path in sources(*OURS)
        if path.name != "__main__.py"
        and module_of(path) not in WORKSTATION_COMMANDS
        and not any(is_within(module_of(path), away) for away in WORKSTATION_ONLY)
    ]
    assert "agent.cli" in modules
    allowed = {*OURS, "numpy", "click"}
    script = BOARD.format(away=WORKSTATION_ONLY, allowed=allowed, modules=modules)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_setup_lists_exactly_the_packages_on_disk() -> None:
    on_disk = {module_of(path) for path in sources(*OURS) if path.name == "__init__.py"}
    assert packages_that_ship() == sorted(on_disk)


def test_every_folder_with_modules_is_a_package_with_one_line_that_says_what_it_is_for() -> None:
    for folder in sorted({path.parent for path in sources(*OURS)}):
        front = folder / "__init__.py"
        assert front.is_file(), f"{relative(folder)} has no __init__.py"
        assert ast.get_docstring(ast.parse(front.read_text(encoding="utf-8"))), relative(front)


def test_rooms_are_small() -> None:
    wrong = []
    for path in sources(*OURS, "tools"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 300:
            wrong.append(f"{relative(path)} has {text.count(chr(10))} lines, more than 300")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > 50:
                    wrong.append(f"{relative(path)}: {node.name} has {lines} lines, more than 50")
    assert wrong == []


def test_no_pickle_is_ever_loaded() -> None:
    wrong = [f"{found}" for found in imports(*OURS) if found.module.split(".")[0] == "pickle"]
    for path in sources(*OURS):
        text = path.read_text(encoding="utf-8")
        wrong += [f"{relative(path)} allows pickle"] * ("allow_pickle=True" in text)
    assert wrong == []


def test_the_project_speaks_of_itself_alone() -> None:
    # Written in pieces, so that this file does not find itself.
    places = "|".join(("/" + "work/", "/" + "root/", "/" + "opt/npp", "py" + r"pi\.org"))
    pattern = re.compile(rf"(?<![\w.])({places})|\b(issue) #?\d".encode(), re.IGNORECASE)
    wrong = []
    for path in committed():
        content = path.read_bytes()
        if b"\0" in content:
            continue  # not text
        wrong += [f"{relative(path)}: {m.group().decode()}" for m in pattern.finditer(content)]
    assert wrong == []


def test_the_version_stands_in_one_place() -> None:
    said = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named 'setuptools'" in said.stderr:
        pytest.skip("setuptools is not installed here; building the wheel tests the same")
    assert said.stdout.split()[-1] == agent.__version__
