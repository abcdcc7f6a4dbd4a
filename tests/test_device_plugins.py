"""Devices that other packages bring: a board, a measured array, and plugins that are broken."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.runtimes.cim_paths import written
from agent.store.bundle import open_bundle
from agent.store.package import read_package
from device_models.memories.product import Mismatch, effective
from device_models.presets import preset_names
from tests.agent_stores import ROOT, Said, bundle, data
from tests.plugin_sites import installed, npp_with
from tests.shown_commands import blocks

EXAMPLE = ROOT / "tests" / "example_board"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("network") / "small.npp")


@pytest.fixture
def board() -> Iterator[int]:
    """The port of a board that is on."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE / "emulated_board.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


def ask(port: int, **request: str) -> dict[str, int]:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        stream = connection.makefile("rwb")
        stream.write(json.dumps({**request, "bytes": 0}).encode() + b"\n")
        stream.flush()
        found = json.loads(stream.readline())
        assert isinstance(found, dict)
        return found


@pytest.mark.slow
def test_a_board_is_written_once_calibrated_and_fails_in_a_sentence(
    tmp_path: Path, network: Path, board: int
) -> None:
    module = (EXAMPLE / "example_board.py").read_text(encoding="utf-8")
    entries = {"example-board": "example_board:DEVICE"}
    site = installed(tmp_path / "site", "example_board", module, entries)
    chip = tmp_path / "bench-7.toml"
    chip.write_text(f'kind = "example-board"\nport = {board}\n', encoding="utf-8")
    store = ("--store", tmp_path / "store")

    def said(*arguments: object) -> Said:
        done = npp_with(site, *arguments, *store, "--json")
        assert done.code == 0, done.err
        return done

    chip_said = said("install", network, "--chip", chip).document["chip"]
    assert chip_said["name"] == "bench-7"
    assert ask(board, do="writes")["writes"] == 0  # nothing is driven before it is needed
    layers = said("measure").document["layers"]
    assert min(layer["relative_error"] for layer in layers) > 0.05
    report = said("calibrate").document
    assert report["accepted"]
    assert report["mean_layer_error"]["after"] < 0.5 * report["mean_layer_error"]["before"]
    held_out = data(tmp_path / "data.npz")
    found = said("evaluate", "--data", held_out).document
    assert found["corrected"] >= found["uncorrected"]
    assert ask(board, do="writes")["writes"] == len(layers)
    assert "beyond the 0 s that device model example-board" in said("measure", "--age-s", 1).err

    listed = npp_with(site, "devices")
    assert listed.out.splitlines()[-1].split()[0] == "example-board"
    sheet = npp_with(site, "devices", chip).out
    assert f"port = {board}" in sheet
    assert re.search(r"^plugin +example_board$", sheet, re.MULTILINE)
    starter = npp_with(site, "devices", "example-board", "--toml").out
    assert "port = 5025" in starter

    ask(board, do="forget")
    lost = npp_with(site, "measure", "--age-s", 0, *store)
    assert lost.code == 1
    assert "lost its supply" in lost.sentence()


def test_a_board_that_is_off_is_one_sentence(tmp_path: Path, network: Path) -> None:
    module = (EXAMPLE / "example_board.py").read_text(encoding="utf-8")
    entries = {"example-board": "example_board:DEVICE"}
    site = installed(tmp_path / "site", "example_board", module, entries)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers
        chip = tmp_path / "off.toml"
        chip.write_text(f'kind = "example-board"\nport = {taken.getsockname()[1]}\n')
        store = ("--store", tmp_path / "store")
        assert npp_with(site, "install", network, "--chip", chip, *store).code == 0
        off = npp_with(site, "measure", *store)
    assert off.code == 1
    assert "of the plugin example_board: programming failed: ConnectionRefused" in off.sentence()
    gone = npp_with(tmp_path, "measure", *store)
    assert gone.code == 1
    assert "the chip 'off' of the store is not known here; if a plugin" in gone.sentence()
    assert "kind is 'example-board'" in gone.sentence()


def documented() -> tuple[str, str, dict[str, str]]:
    """Package, code and entry points of the example in docs/devices.md."""
    text = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    (code,) = blocks(text, "python")
    projects = [tomllib.loads(block) for block in blocks(text, "toml")]
    (project,) = [one["project"] for one in projects if "project" in one]
    return project["name"], code, project["entry-points"]["npp_agent.devices"]


@pytest.mark.slow
def test_the_documented_measured_array_computes_what_was_measured(
    tmp_path: Path, network: Path
) -> None:
    package, code, entries = documented()
    site = installed(tmp_path / "site", package, code, entries)
    packed = read_package(open_bundle(network)).network
    weights = {
        name: effective(Mismatch(25.0), written(codes), 3, name)
        for name, codes in packed.weights.items()
    }
    np.savez(site / f"{package}.npz", **weights)
    store, emulated = ("--store", tmp_path / "store"), ("--store", tmp_path / "emulated")
    (name,) = entries
    assert npp_with(site, "install", network, "--chip", name, *store).code == 0
    chip = ("--chip", "mismatch-25", "--chip-seed", 3)
    assert npp_with(site, "install", network, *chip, *emulated).code == 0
    one, other = (npp_with(site, "measure", *at, "--json").document for at in (store, emulated))
    assert one == other
    assert one["mean_relative_error"] > 0.1
    np.savez(site / f"{package}.npz", **{next(iter(weights)): np.ones((1, 2, 3), np.float32)})
    wrong = npp_with(site, "measure", *store)
    assert wrong.code == 1
    assert "[1, 2, 3]" in wrong.sentence()
    np.savez(site / f"{package}.npz", other=np.ones(1))
    assert "holds no layer" in npp_with(site, "measure", *store).sentence()
    (site / f"{package}.npz").unlink()
    assert "programming failed: FileNotFoundError" in npp_with(site, "measure", *store).sentence()


GOOD = """
from dataclasses import dataclass
from typing import ClassVar
from device_models.parameters import check, parameter
from device_models.presets import Preset
from device_models.registry import register

@dataclass(frozen=True)
class Model:
    kind: ClassVar[str] = "KIND"
    size: float = parameter(1.0, unit="1", meaning="a", source="b", low=0.0, high=2.0)

@register(Model)
def program(model, placement):
    PROGRAM

DEVICE = Preset("NAME", Model(), "nothing special", "a test")
"""


def plugin(name: str, kind: str = "", program: str = "return 1") -> str:
    return GOOD.replace("NAME", name).replace("KIND", kind or name).replace("PROGRAM", program)


BROKEN = {
    "raise OSError('no such\\nboard')": "raises OSError: no such board",
    "import sys; sys.exit(3)": "raises SystemExit: 3",
    "import not_installed": "ModuleNotFoundError: No module named 'not_installed'",
    "DEVICE = (": "SyntaxError",
    "OTHER = 1": "AttributeError",
    "DEVICE = 'pcm'": "is a str, and no Preset",
    plugin("another"): "its preset is called 'another'",
    plugin("BAD", "pcm"): "the kind 'pcm' of package_.*.Model is the name of device_models.mem",
    plugin("BAD").replace("@register(Model)", ""): "no function is registered",
    plugin("BAD").replace("(frozen=True)", ""): "Model is no frozen dataclass",
    re.sub(r"= parameter.*", "= 1.0", plugin("BAD")): "Model.size says neither unit nor source",
}
CLASHES = {
    "pcm": "the name of a preset of npp-agent",
    "mismatch-7": "the name of a preset of npp-agent",
    "Big Name": "small letters, digits",
}


def test_broken_plugins_are_named_and_break_nothing(tmp_path: Path) -> None:
    wanted = {}
    for number, (module, words) in enumerate(BROKEN.items(), 1):
        package, name = f"package_{number}", f"bad-{number}"
        installed(tmp_path, package, module.replace("BAD", name), {name: f"{package}:DEVICE"})
        wanted[name] = words
    for number, (name, words) in enumerate(CLASHES.items()):
        module = plugin(name, f"kind-{number}")
        installed(tmp_path, f"clash_{number}", module, {name: f"clash_{number}:DEVICE"})
        wanted[name] = words
    installed(tmp_path, "fine_package", plugin("fine"), {"fine": "fine_package:DEVICE"})
    listed = npp_with(tmp_path, "devices", "--json")
    assert listed.code == 0
    said = listed.err.splitlines()
    assert len(said) == len(wanted)
    for name, words in wanted.items():
        (sentence,) = [one for one in said if f"the device {name!r} of the plugin" in one]
        assert re.search(words, sentence), sentence
    found = [(one["name"], one["plugin"]) for one in listed.document["devices"]]
    assert found == [*((ours, None) for ours in preset_names()), ("fine", "fine_package")]
    refused = npp_with(tmp_path, "devices", "bad-1")
    assert refused.code == 1
    assert "raises OSError: no such board" in refused.sentence()
    assert npp_with(tmp_path, "devices", "pcm", "--json").document["devices"][0]["kind"] == "pcm"
    assert npp_with(tmp_path, "devices", "fine").code == 0


def test_two_plugins_of_one_name_are_both_refused(tmp_path: Path) -> None:
    for package, kind in (("one", "a"), ("two", "b")):
        installed(tmp_path, package, plugin("same", kind), {"same": f"{package}:DEVICE"})
    said = npp_with(tmp_path, "devices", "same")
    assert said.code == 1
    assert "'same' is offered by one and two; uninstall all but one" in said.sentence()


WRONG_ARRAYS = {
    "return 1": "programming gives a int, which cannot multiply",
    "raise ValueError('bad')": "programming failed: ValueError: bad",
}
MULTIPLY = "import numpy as np; return type('A', (), {'multiply': lambda self, c, z, g: RESULT})()"
for result, reason in (
    ("None", "multiplying gives a NoneType; needed is float32"),
    ("c", r"multiplying gives uint8 .*; needed is float32"),
    ("np.zeros((len(c), 1, 999), np.float32)", r"gives float32 \[\d+, 1, 999\]; needed is"),
    ("np.full((len(c), 1, 8), np.nan, np.float32)", "NaN or infinity|needed is float32"),
    ("1 / 0", "multiplying failed: ZeroDivisionError"),
):
    WRONG_ARRAYS[MULTIPLY.replace("RESULT", result)] = reason


@pytest.mark.parametrize("program", WRONG_ARRAYS)
def test_an_array_that_breaks_its_contract_is_one_sentence(
    tmp_path: Path, network: Path, program: str
) -> None:
    site = installed(tmp_path / "s", "odd", plugin("odd", program=program), {"odd": "odd:DEVICE"})
    store = ("--store", tmp_path / "store")
    assert npp_with(site, "install", network, "--chip", "odd", *store).code == 0
    said = npp_with(site, "measure", *store)
    assert said.code == 1
    assert re.search(WRONG_ARRAYS[program], said.sentence())
    assert re.search("layer .*, device kind odd of the plugin odd: ", said.sentence())


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path, network: Path) -> None:
    module = "raise RuntimeError('imported')"
    site = installed(tmp_path / "s", "eager", module, {"eager": "eager:DEVICE"})
    store = ("--store", tmp_path / "store")
    for arguments in (
        ("--help",),
        ("devices", "pcm"),
        ("install", network, "--chip", "mismatch-20", *store),
        ("measure", *store),
    ):
        done = npp_with(site, *arguments)
        assert (done.code, done.err) == (0, ""), arguments
    unknown = npp_with(site, "install", network, "--chip", "eagr", *store)
    assert "did you mean eager?" in unknown.sentence()
    assert "imported" not in unknown.err
    code = (
        "import sys, agent.session, device_models.presets as p; p.preset('pcm'); "
        "assert 'device_models.plugins' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_kind_is_found_whatever_its_preset_is_called(tmp_path: Path) -> None:
    installed(tmp_path, "p", plugin("a-name", "a-kind"), {"a-name": "p:DEVICE"})
    installed(tmp_path, "q", "raise OSError('off')", {"b": "q:DEVICE"})
    chip = tmp_path / "chip.toml"
    chip.write_text('kind = "a-kind"\nsize = 2.0\n', encoding="utf-8")
    shown = npp_with(tmp_path, "devices", chip)
    assert shown.code == 0
    assert "as a-name: nothing special" in shown.out
    chip.write_text('kind = "a-kin"\nsize = 2.0\n', encoding="utf-8")
    said = npp_with(tmp_path, "devices", chip)
    assert "(did you mean 'a-kind'?)" in said.sentence()
    assert "importing q:DEVICE raises OSError: off" in said.err
    chip.write_text('kind = "a-kind"\nsize = 3.0\n', encoding="utf-8")
    assert "size is 3.0; give a number from 0 to 2" in npp_with(tmp_path, "devices", chip).err
