"""The frame of the command line: exit codes, one sentence on stderr, lazy commands."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agent import __version__
from agent.cli.commands import COMMANDS
from agent.cli.common import chip_state_options, emit, store_option, strict_json
from agent.cli.program import program, run
from agent.errors import AgentError, StoreLockedError
from agent.places import default_store
from calib.errors import SampleError
from device_models.errors import DeviceModelError

ROOT = Path(__file__).resolve().parents[1]


def npp_agent(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def failing(error: BaseException) -> click.Command:
    """A command that prints nothing and raises."""

    @click.command()
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (AgentError("no bundle is there"), 1, "no bundle is there"),
        (StoreLockedError("process 7 has it"), 4, "process 7 has it"),
        (SampleError("3 samples,\n8 wanted"), 1, "3 samples, 8 wanted"),
        (DeviceModelError("no such chip"), 1, "no such chip"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "slot"), 1, "slot: No space left on"),
        (FileNotFoundError(2, "No such file", "a.npz"), 1, "a.npz: No such file"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.ClickException("a foreign complaint"), 1, "a foreign complaint"),
        (KeyError("weights"), 1, "unexpected KeyError: 'weights'"),
        (ValueError(), 1, "unexpected ValueError: no message"),
    ],
)
def test_every_error_is_one_sentence_and_an_exit_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([], failing(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith(f"npp-agent: {sentence}")
    assert [line for line in err.splitlines() if line] == [last]


def test_a_traceback_is_shown_to_those_who_ask_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPP_DEBUG", "1")
    assert run([], failing(KeyError("weights"))) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("npp-agent: unexpected KeyError")


def test_a_command_chooses_its_own_exit_code() -> None:
    @click.command()
    @click.pass_context
    def refuse(context: click.Context) -> None:
        context.exit(3)

    assert run([], refuse) == 3


def test_wrong_usage_is_exit_code_2_and_leaves_stdout_empty() -> None:
    for arguments in (["no-such-command"], ["doctor", "--no-such-option"], ["doctor", "extra"]):
        done = npp_agent(*arguments)
        assert done.returncode == 2, arguments
        assert done.stdout == ""
        assert "Error:" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "doctor", "--json"],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writing)
        _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_stdout_is_an_error_and_no_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli", "doctor", "--json"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "npp-agent: No space left on device\n"


def test_one_thread_runs_unless_the_user_says_otherwise() -> None:
    script = (
        "import os, sys; from agent.cli import THREADS, main; sys.argv = ['npp-agent', '--version']"
        "\ntry: main()"
        "\nexcept SystemExit: print([os.environ[name] for name in THREADS], file=sys.stderr)"
    )
    said = {}
    for wanted in ({}, {"OMP_NUM_THREADS": "3"}):
        others = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**others, **wanted},
            capture_output=True,
            text=True,
            check=True,
        )
        said[len(wanted)] = done.stderr.strip()
    assert said == {0: "['1', '1', '1']", 1: "['1', '3', '1']"}


def test_help_loads_neither_numpy_nor_a_command() -> None:
    script = (
        "import sys; from agent.cli.program import run; assert run(['--help']) == 0; "
        "loaded = {m for m in sys.modules if m == 'numpy' or m.startswith('agent.cli.')}; "
        "print(sorted(loaded), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stderr.strip() == str(
        ["agent.cli.commands", "agent.cli.failures", "agent.cli.program"]
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_is_true(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.help, f"{name} has no help"
    assert len(COMMANDS[name][1]) <= 70
    assert CliRunner().invoke(program, [name, "--help"]).exit_code == 0


def test_the_version_is_printed() -> None:
    assert npp_agent("--version").stdout.strip().endswith(__version__)


def test_json_is_strict() -> None:
    document = {
        "nan": math.nan,
        "infinite": [math.inf, -math.inf, 1.5],
        "numpy": np.array([1.0, np.nan], np.float32),
        "scalar": np.int64(3),
        "truth": np.ones(1, bool)[0],
        "place": Path("a/b"),
        "nested": ({"x": None},),
        7: "a number for a name",
    }
    assert json.loads(strict_json(document)) == {
        "nan": None,
        "infinite": [None, None, 1.5],
        "numpy": [1.0, None],
        "scalar": 3,
        "truth": True,
        "place": "a/b",
        "nested": [{"x": None}],
        "7": "a number for a name",
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_json_is_one_line_that_a_strict_parser_reads(document: dict[str, object]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    line = strict_json(document)
    assert "\n" not in line
    json.loads(line, parse_constant=refuse)


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        strict_json({"x": object()})


def test_emit_prints_the_document_or_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": 1}, as_json=True, table="a table")
    emit({"a": 1}, as_json=False, table="a table")
    assert capsys.readouterr().out == '{"a": 1}\na table\n'


def show_options(function: Callable[..., None]) -> click.Command:
    return click.command()(store_option(chip_state_options(function)))


def test_shared_options_have_their_defaults(tmp_path: Path) -> None:
    seen: list[tuple[Path, dict[str, float | None]]] = []

    @show_options
    def command(store: Path, conditions: dict[str, float | None]) -> None:
        seen.append((store, conditions))

    runner = CliRunner(env={"NPP_STORE": str(tmp_path)})
    assert runner.invoke(command, []).exit_code == 0
    assert runner.invoke(command, ["--store", "x", "--age-s", "60"]).exit_code == 0
    nothing = {"age_s": None, "temperature_c": None, "supply_v": None}
    assert seen == [(tmp_path, nothing), (Path("x"), {**nothing, "age_s": 60.0})]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--age-s", "-1"],
        ["--age-s", "nan"],
        ["--age-s", "inf"],
        ["--temperature-c", "-300"],
        ["--supply-v", "0"],
        ["--supply-v", "inf"],
    ],
)
def test_a_chip_is_in_conditions_that_can_be(arguments: list[str]) -> None:
    @show_options
    def command(store: Path, conditions: dict[str, float | None]) -> None:
        raise AssertionError((store, conditions))

    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_the_default_store(tmp_path: Path) -> None:
    home = {"HOME": "/home/someone"}
    away = tmp_path / "file" / "npp-agent"
    (tmp_path / "file").touch()
    assert default_store({**home, "NPP_STORE": "/a"}, tmp_path) == Path("/a")
    assert default_store(home, tmp_path) == tmp_path
    assert default_store(home, away) == Path("/home/someone/.local/share/npp-agent")
    assert default_store({**home, "XDG_DATA_HOME": "/d"}, away) == Path("/d/npp-agent")
    assert default_store({**home, "XDG_DATA_HOME": "relative"}, away) == Path(
        "/home/someone/.local/share/npp-agent"
    )
