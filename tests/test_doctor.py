"""What `npp-agent doctor` finds, on this machine and on others."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.cli.doctor import report
from agent.cli.program import program, run
from agent.doctor import machine, packages, places
from tests.store_places import make_place

ALL = {known.name: "1.0" for known in packages.KNOWN}


def board(**installed: str) -> tuple[packages.Package, ...]:
    """What would be found on a board with these packages."""
    named = {name.replace("_", "-"): version for name, version in installed.items()}
    return packages.examine(lambda name, _module: named.get(name))


def works(found: tuple[packages.Ability, ...]) -> dict[str, bool]:
    return {ability.name: ability.works for ability in found}


def test_the_document_is_complete_and_says_the_truth_about_this_environment(
    tmp_path: Path,
) -> None:
    done = CliRunner().invoke(program, ["doctor", "--json", "--store", str(tmp_path)])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert set(document) == {"version", "machine", "packages", "abilities", "store", "ports"}
    found = {package["name"]: package for package in document["packages"]}
    assert found["numpy"]["works"]
    assert found["click"]["works"]
    assert document["store"]["path"] == str(tmp_path)
    assert document["store"]["writable"]
    assert document["machine"]["cores"] >= 1


def test_the_table_fits_and_names_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--store", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)


def test_a_bare_board_is_told_what_to_install() -> None:
    found = packages.abilities(
        board(numpy="2.4.6", click="8.1.7"), bits=64, has_module=lambda _module: True
    )
    by_name = {ability.name: ability for ability in found}
    assert by_name["run on an emulated chip (runtime cim)"].works
    tflite = by_name["run on tflite (runtime tflite)"]
    assert not tflite.works
    assert tflite.install == "python -m pip install 'npp-agent[litert]'"


def test_a_32_bit_board_is_told_of_the_package_that_exists_for_it() -> None:
    found = packages.abilities(board(numpy="1.26.4"), bits=32, has_module=lambda _module: True)
    by_name = {ability.name: ability for ability in found}
    assert by_name["run on tflite (runtime tflite)"].install == (
        "python -m pip install 'npp-agent[tflite]'"
    )
    assert by_name["run on onnxruntime (runtime onnxruntime)"].install is None


def test_tflite_runtime_works_with_numpy_1_and_not_with_numpy_2() -> None:
    for numpy, expected in (("1.26.4", True), ("2.0.0", False)):
        found = board(numpy=numpy, tflite_runtime="2.14.0")
        package = next(p for p in found if p.name == "tflite-runtime")
        assert package.works is expected
        able = works(packages.abilities(found, bits=64, has_module=lambda _module: True))
        assert able["run on tflite (runtime tflite)"] is expected


def test_the_successor_is_preferred_to_a_tflite_runtime_that_breaks() -> None:
    found = board(numpy="2.4.6", tflite_runtime="2.14.0", ai_edge_litert="2.3.0")
    able = works(packages.abilities(found, bits=64, has_module=lambda _module: True))
    assert able["run on tflite (runtime tflite)"]


def test_a_runtime_that_this_version_lacks_is_not_promised() -> None:
    found = packages.examine(lambda name, _module: ALL[name])
    able = works(packages.abilities(found, bits=64, has_module=lambda _module: False))
    assert not able["run on onnxruntime (runtime onnxruntime)"]
    assert able["run on an emulated chip (runtime cim)"]


def test_a_package_without_its_module_is_not_installed() -> None:
    assert packages.installed_version("numpy", "numpy") is not None
    assert packages.installed_version("numpy", "no_module_of_that_name") is None
    assert packages.installed_version("no-package-of-that-name", "numpy") is None


def test_a_raspberry_pi_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree").mkdir(parents=True)
    (tmp_path / "proc" / "device-tree" / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 4194304 kB\nMemAvailable: 1024 kB\n")
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Cortex-A76\n")
    found = machine.examine(tmp_path)
    assert found.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert found.memory_bytes == 4 * 2**30
    assert found.memory_available_bytes == 2**20
    assert found.processor == "Cortex-A76"


def test_a_machine_without_proc_is_described_as_far_as_it_goes(tmp_path: Path) -> None:
    found = machine.examine(tmp_path)
    assert (found.board, found.memory_bytes, found.processor) == (None, None, None)
    assert found.cores >= 1


def test_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    place = places.examine_store(tmp_path / "a" / "b")
    assert (place.exists, place.writable, place.mode, place.problem) == (False, True, None, None)
    assert place.free_bytes is not None
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_place_of_a_store_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    place = places.examine_store(tmp_path / "store")
    assert not place.exists
    assert not place.writable
    assert place.problem is not None
    assert "holds no store: name a directory" in place.problem


def test_an_image_is_a_store(tmp_path: Path) -> None:
    image = make_place("image", tmp_path / "image")
    place = places.examine_store(image)
    assert (place.exists, place.writable, place.problem) == (True, True, None)
    image.chmod(0o666)
    assert "chmod o-w" in str(places.examine_store(image).problem)


def test_a_store_that_every_user_can_write_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    place = places.examine_store(tmp_path)
    assert place.problem is not None
    assert "chmod o-w" in place.problem
    assert place.mode == stat.filemode(tmp_path.stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    place = places.examine_store(tmp_path)
    assert not place.writable
    assert place.problem is not None
    assert "cannot be written" in place.problem


def make_port(root: Path, name: str, kind: str | None = None) -> Path:
    port = root / "dev" / name
    port.parent.mkdir(exist_ok=True)
    port.touch()
    if kind is not None:
        (root / "sys" / "class" / "tty" / name).mkdir(parents=True)
        (root / "sys" / "class" / "tty" / name / "type").write_text(f"{kind}\n")
    return port


def test_ports_with_hardware_are_listed_and_empty_places_are_not(tmp_path: Path) -> None:
    make_port(tmp_path, "ttyS0", kind="4")
    make_port(tmp_path, "ttyS1", kind="0")
    make_port(tmp_path, "ttyUSB0")
    make_port(tmp_path, "tty7")
    found = places.examine_ports(tmp_path, access=lambda _path, _mode: True)
    assert [Path(port.path).name for port in found] == ["ttyS0", "ttyUSB0"]
    assert all(port.usable for port in found)


def test_a_port_that_may_not_be_opened_comes_with_its_remedy(tmp_path: Path) -> None:
    make_port(tmp_path, "ttyACM0")
    (port,) = places.examine_ports(tmp_path, access=lambda _path, _mode: False)
    assert not port.usable
    assert port.problem is not None
    assert "usermod -aG" in port.problem


def test_the_report_of_a_bad_place_ends_with_what_to_do(tmp_path: Path) -> None:
    document = json.loads(
        CliRunner().invoke(program, ["doctor", "--json", "--store", str(tmp_path)]).stdout
    )
    document["store"]["problem"] = "the store is on fire"
    document["packages"] = [
        {
            "name": "tflite-runtime",
            "version": "2.14.0",
            "purpose": "tests",
            "needed": False,
            "works": False,
            "reason": "breaks with NumPy 2, and NumPy 2.4.6 is installed",
        }
    ]
    advice = report(document).splitlines()
    assert "the store is on fire" in advice
    assert any(line.startswith("tflite-runtime breaks with NumPy 2") for line in advice)
