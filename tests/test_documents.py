"""The documents are true: commands shown are run, options and keys compared, links followed."""

from __future__ import annotations

import configparser
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from agent import __version__
from agent.cli.commands import COMMANDS
from agent.cli.failures import INTERRUPTED
from agent.cli.fsck import DAMAGED
from agent.cli.measure import ABOVE_LIMIT
from agent.cli.program import program, run
from agent.errors import AgentError, StoreLockedError
from agent.link.codes import Group, Npp
from agent.service.settings import all_settings
from agent.workstation.demo_bundle import DEMO_BUNDLE
from calib.graph.registry import operations
from calib.importers.onnx_export import write_onnx
from calib.schemes.names import CHANNELWISE
from calib.schemes.weights import FLOAT, SCHEMES
from device_models.presets import preset_names
from device_models.registry import kinds
from device_models.toml_file import load_device
from tests.agent_stores import bundle
from tests.cell_data import Truth, measure, write_csv
from tests.links import reached
from tests.shown_commands import blocks, fits, masked, play, shown_commands
from tests.small_networks import classifier, samples_for

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "agent").rglob("*.md"),
    ]
)


def section(title: str) -> str:
    found = re.search(
        rf"^(#+) {re.escape(title)}[^\n]*\n(.*?)(?=^#{{1,4}} |\Z)", README, re.MULTILINE | re.DOTALL
    )
    assert found, f"README.md has no section {title!r}"
    return found.group(2)


def command_of(name: str) -> click.Command:
    found = program.get_command(click.Context(program), name)  # type: ignore[attr-defined]  # a group
    assert found is not None
    return found


def options_of(name: str) -> Iterator[click.Option]:
    return (one for one in command_of(name).params if isinstance(one, click.Option))


@pytest.mark.slow
def test_every_command_shown_runs_and_says_what_is_shown(tmp_path: Path) -> None:
    for module in ("sklearn", "onnx"):
        pytest.importorskip(module)
    shown = shown_commands(README)
    runs = play(shown, tmp_path)
    for one, done in zip(shown, runs, strict=True):
        assert done.code == 0, f"{one.command}: {done.output}"
        assert fits(one.output, done.output), (
            f"{one.command}: README.md shows\n{masked(one.output)}\nand it says\n"
            f"{masked(done.output)}"
        )


def test_the_tour_shows_every_command_but_the_demo() -> None:
    shown = " ".join(one.command for one in shown_commands(README))
    assert [name for name in COMMANDS if f"npp-agent {name}" not in shown] == ["demo"]


def test_the_comparison_sees_a_word_a_row_and_a_refusal() -> None:
    shown = "layer  error\n-----  -----\na      0.25\n...\nexit code 3\n"
    assert fits(shown, "layer    error\n-------  -----\na        1e-05\nmore\nexit code 3\n")
    assert fits(shown, "layer  error\n---  ---\na  0.25\nexit code 3\n")
    assert not fits(shown, "layer  error\n---  ---\na  0.25\nexit code 0\n")
    assert not fits(shown, "layer  loss\n---  ---\na  0.25\nexit code 3\n")
    assert not fits(shown, "layer  error\n---  ---\nexit code 3\n")
    assert fits("ranges  min-max\nsize  1.5 KiB\n", "ranges  percentile\nsize  900 B\n")
    assert not fits("a 1\n", "a 1 2\n")


def test_shell_blocks_name_scripts_and_extras_that_exist() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        script = line.split()[0]
        if script.startswith("./"):
            assert os.access(ROOT / script, os.X_OK), line
        else:
            extra = re.fullmatch(r"python -m pip install '\.\[(\w+)\]'.*", line)
            assert extra, line
            assert f'"{extra.group(1)}": ' in setup, line


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_the_options_of_every_command_and_their_defaults(name: str) -> None:
    text = section(f"`npp-agent {name}")
    real = {option.opts[0] for option in options_of(name)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= real
    for option in options_of(name):
        assert f"`{option.opts[0]}" in text, f"{name} has an option {option.opts[0]}"
        if option.show_default is True:
            row = re.search(rf"^\| `{option.opts[0]}[ `].*$", text, re.MULTILINE)
            assert row, f"{name} {option.opts[0]} has a default and no row"
            assert row.group().split("|")[2].strip() == str(option.default), row.group()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_explains_itself(name: str) -> None:
    assert [option.opts[0] for option in options_of(name) if not option.help] == []


def test_the_exit_codes_are_those_of_the_program() -> None:
    listed = {
        int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)
    }
    codes = {AgentError.exit_code, StoreLockedError.exit_code, ABOVE_LIMIT, DAMAGED, INTERRUPTED}
    assert listed == codes | {0, 2, 3}


def documented_keys(command: str) -> dict[str, set[str]]:
    """The keys of a command's row, each with those in the brackets behind it."""
    row = re.search(rf"^\| `{command}`[^|]* \| (.*) \|$", section("JSON"), re.MULTILINE)
    assert row, f"README.md lists no keys of {command}"
    found = re.findall(r"`(\w+)`(?: \(([^)]*)\))?", row.group(1))
    return {key: set(re.findall(r"`(\w+)`", inner)) for key, inner in found}


def inner_keys(value: Any) -> set[str]:
    first = value[0] if isinstance(value, list) and value else value
    return set(first) if isinstance(first, dict) else set()


def test_the_keys_are_those_that_the_commands_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = classifier()
    write_onnx(network, tmp_path / "small.onnx")
    x = samples_for(network, 20, seed=1)
    np.savez(tmp_path / "small.npz", x=x, y=np.arange(20) % 5)
    store, packed, data = (str(tmp_path / name) for name in ("store", "small.npp", "small.npz"))
    where = ("--store", store)
    (tmp_path / "life.toml").write_text('chip = "ideal"\ndays = 0.1\n', encoding="utf-8")
    configuration, inputs = tmp_path / "empty.toml", tmp_path / "inputs"
    configuration.touch()
    inputs.mkdir()
    np.save(inputs / "one.npy", x[0])
    cells = write_csv(tmp_path / "cells.csv", measure(Truth(mean=0.05), (0.0, 1e3)))
    for arguments in (
        ("pack", str(tmp_path / "small.onnx"), "--samples", data, "--out", packed),
        ("inspect", str(DEMO_BUNDLE)),
        ("install", packed, "--chip", "mismatch-30", *where),
        ("measure", *where),
        ("calibrate", *where),
        ("evaluate", "--data", data, *where),
        ("simulate", packed, "--data", data, "--chip", "ideal", "--chips", "2", "--workers", "1"),
        ("simulate-life", packed, str(tmp_path / "life.toml"), "--data", data),
        ("config", "--config", str(configuration)),
        ("run", "--source", str(inputs), "--once", *where),
        ("status", *where),
        ("history", *where),
        ("rollback", *where),
        ("fsck", *where),
        ("format-store", str(tmp_path / "card.img"), "--size-kib", "512"),
        ("uninstall", *where),
        ("devices",),
        ("fit-device", str(cells), "--out", str(tmp_path / "ours.toml")),
        ("doctor", *where),
    ):
        assert run([*arguments, "--json"]) == 0, arguments
        said = json.loads(capsys.readouterr().out)
        listed = documented_keys(arguments[0])
        assert set(listed) == set(said), arguments[0]
        for key, inner in listed.items():
            if inner:
                assert inner == inner_keys(said[key]), (arguments[0], key)


def test_every_setting_of_the_service_stands_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(.*?)` \|", section("The service"), re.MULTILINE)
    listed = {(part, name): json.loads(default) for part, name, default in rows}
    assert listed == {(part, spec.name): spec.default for part, spec in all_settings()}


def test_the_unit_starts_what_is_there_as_a_user_of_its_own() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    unit.read(ROOT / "agent/service/npp-agent.service")
    start = unit["Service"]["ExecStart"].split()
    assert start[0].endswith("/npp-agent")
    assert start[1] in COMMANDS
    hardened = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "User": "npp-agent"}
    assert {name: unit["Service"][name] for name in hardened} == hardened


def test_the_keys_over_a_line_are_those_that_the_commands_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = bundle(tmp_path / "small.npp")
    store = tmp_path / "store"
    assert run(["install", str(packed), "--store", str(store)]) == 0
    with reached(store) as (port, _):
        assert run(["measure", "--port", port]) == 0
        for arguments, name in (
            (("monitor", port, "--once"), "monitor"),
            (("deploy", port, str(packed)), "deploy"),
        ):
            capsys.readouterr()
            assert run([*arguments, "--json"]) == 0
            said = json.loads(capsys.readouterr().out)
            listed = documented_keys(name)
            assert set(listed) == set(said), name
            for key, inner in listed.items():
                if inner:
                    assert inner == inner_keys(said[key]), (name, key)


def test_the_protocol_names_every_command() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    own = re.findall(r"^\| (\d+) (\w+) \| ", text, re.MULTILINE)
    assert {(int(number), name) for number, name in own} == {
        (int(command), command.name.lower()) for command in Npp
    }
    for group in Group:
        assert re.search(rf"\b{int(group)}\b", text)


def test_what_monitoring_names_is_exported() -> None:
    folder = ROOT / "docs" / "monitoring"
    known = set(re.findall(r"`(npp_\w+)`", (folder / "README.md").read_text(encoding="utf-8")))
    bare = {name.removesuffix("_total").removesuffix("_info") for name in known}
    source = (ROOT / "agent" / "workstation" / "metrics.py").read_text(encoding="utf-8")
    assert bare == set(re.findall(r'"(npp_\w+)"', source))
    for name in ("alerts.yml", "dashboard.json"):
        used = set(re.findall(r"\bnpp_\w+", (folder / name).read_text(encoding="utf-8")))
        assert used
        assert used <= known
    json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))


def test_schemes_presets_and_operations_are_listed() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", section("Schemes"), re.MULTILINE)
    assert rows == [*SCHEMES, CHANNELWISE, FLOAT]
    rows = re.findall(r"^\| `([\w-]+)` \|", section("Chips"), re.MULTILINE)
    assert sorted(rows) == sorted(preset_names())
    quoted = re.findall(r"^> (.*)$", section("Models"), re.MULTILINE)
    assert " ".join(quoted).split() == list(operations())


def test_the_chips_described_in_toml_can_be_loaded() -> None:
    described = {load_device(block).kind for block in blocks(README, "toml")}
    assert {"bitplane", "mismatch"} <= described <= set(kinds())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_files_that_exist_and_no_place_on_a_machine(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.])/(?:home|tmp|opt|Users|mnt|srv)/\S*", text) == []
    folders = ("agent", "calib", "device_models", "docs", "tools", "tests")
    named = re.findall(rf"`((?:{'|'.join(folders)})/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_picture_is_ours_and_small() -> None:
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    content = (ROOT / picture).read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) <= 150_000


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]?", text, re.MULTILINE)
    assert found[0] == __version__
