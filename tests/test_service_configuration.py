"""The configuration: defaults that are printed and read back, overrides, and all errors at once."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import InputError
from agent.methods import METHODS
from agent.service.configuration import (
    default_file,
    line_numbers,
    read_configuration,
    variable,
)
from agent.service.configuration_text import configuration_text
from agent.service.settings import (
    METHODS as KNOWN_METHODS,
)
from agent.service.settings import (
    RULES as KNOWN_RULES,
)
from agent.service.settings import (
    SECTIONS,
    Configuration,
    all_settings,
    problem_with,
)
from calib.selection import RULES
from tests.agent_stores import npp

NOTHING: dict[str, str] = {}


def written(folder: Path, text: str) -> Path:
    file = folder / "agent.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_words_are_those_of_the_loop() -> None:
    assert list(KNOWN_METHODS) == ["auto", *METHODS]
    assert sorted(KNOWN_RULES) == sorted(RULES)


def test_every_default_is_a_value_that_may_be() -> None:
    for section, spec in all_settings():
        assert problem_with(spec, spec.default) is None, (section, spec.name)
        assert spec.metadata["meaning"]


def test_the_defaults_are_what_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    empty = written(tmp_path, "")
    said = npp(capsys, "config", "--config", empty)
    assert said.code == 0
    assert read_configuration(written(tmp_path, said.out), NOTHING) == Configuration()
    document = npp(capsys, "config", "--config", empty, "--json").document
    assert document == {"file": str(empty), **asdict(Configuration())}


def values(section: str, name: str) -> st.SearchStrategy[Any]:
    spec = next(s for where, s in all_settings() if (where, s.name) == (section, name))
    facts = spec.metadata
    if facts["words"]:
        return st.sampled_from(facts["words"])
    if isinstance(spec.default, bool):
        return st.booleans()
    if isinstance(spec.default, int):
        return st.integers(int(facts["least"]), int(facts["most"]))
    if isinstance(spec.default, float):
        return st.floats(facts["least"], facts["most"])
    return st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


names = [(section, spec.name) for section, spec in all_settings()]
choices = st.fixed_dictionaries({}, optional={name: values(*name) for name in names})


@given(chosen=choices)
def test_what_is_printed_is_read_back(
    chosen: dict[tuple[str, str], Any], tmp_path_factory: Any
) -> None:
    chosen["calibration", "longest_interval_s"] = 1e9
    configuration = read_configuration(None, NOTHING, chosen)
    file = written(tmp_path_factory.mktemp("text"), configuration_text(configuration))
    assert read_configuration(file, NOTHING) == configuration


@given(chosen=choices)
def test_the_environment_and_options_say_the_same(chosen: dict[tuple[str, str], Any]) -> None:
    chosen["calibration", "longest_interval_s"] = 1e9
    environment = {
        variable(*name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in chosen.items()
    }
    assert read_configuration(None, environment) == read_configuration(None, NOTHING, chosen)


def test_options_go_before_variables_before_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[canaries]\nshare = 0.1\nevery_s = 7\n[log]\nlevel = 'debug'\n")
    environment = {"NPP_CANARIES_SHARE": "0.2", "NPP_LOG_LEVEL": "error", "NPP_STORE": "x"}
    found = read_configuration(file, environment, {("log", "level"): "notice"})
    default = Configuration()
    assert found == replace(
        default,
        canaries=replace(default.canaries, share=0.2, every_s=7.0),
        log=replace(default.log, level="notice"),
    )


WRONG = """\
[service]
sorce = "-"
follow_s = 0

[canaries]
share = "much"   # not a number

[calibration]
auto = 1
select = 'sensitive'
samples = 3.5
[logs]
level = "info"
"""


def test_all_errors_come_at_once_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, WRONG)
    monkeypatch.setenv("NPP_LOG_LEVEL", "loud")
    monkeypatch.setenv("NPP_CANARIES_SHRE", "0.1")
    said = npp(capsys, "config", "--config", file)
    assert said.code == 1
    sentence = said.sentence()
    for part in (
        f"{file}, line 2: unknown setting service.sorce (did you mean source?)",
        f"{file}, line 3: service.follow_s is 0.0; give a number from 0.01 to 3600",
        f"{file}, line 6: canaries.share is 'much'; give a number",
        f"{file}, line 9: calibration.auto is 1; give true or false",
        f"{file}, line 10: calibration.select is 'sensitive'; give one of sensitivity, random",
        f"{file}, line 11: calibration.samples is 3.5; give a whole number",
        f"{file}, line 12: unknown section [logs] (did you mean log?)",
        "$NPP_LOG_LEVEL: log.level is 'loud'",
        "$NPP_CANARIES_SHRE: there is no such setting (did you mean NPP_CANARIES_SHARE?)",
    ):
        assert part in sentence, (part, sentence)
    assert npp(capsys, "run", "--config", file, "--store", tmp_path / "none").sentence() == sentence


def test_values_that_contradict_each_other(tmp_path: Path) -> None:
    file = written(tmp_path, "[calibration]\n\nlongest_interval_s = 60\n")
    with pytest.raises(InputError, match=r"line 3: calibration.longest_interval_s is 60, below"):
        read_configuration(file, NOTHING)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[service\n", "no valid TOML.*line 1"),
        (b"service = 3\n", r"line 1: service is a value; write a section \[service\]"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 70_000, "larger than"),
        (b"a = " + b"[" * 5000, "no valid TOML"),
        (b"[canaries]\nshare = nan\n", "line 2: canaries.share is nan"),
    ],
)
def test_files_that_are_none(content: bytes, what: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=what):
        read_configuration(file, NOTHING)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the configuration .*No such file"):
        read_configuration(tmp_path / "nothing.toml", NOTHING)


def test_which_file(tmp_path: Path) -> None:
    system = tmp_path / "npp-agent.toml"
    assert default_file({}, system) is None
    system.touch()
    assert default_file({}, system) == system
    assert default_file({"NPP_CONFIG": "x.toml"}, system) == Path("x.toml")


def test_lines_of_every_way_to_write_a_key() -> None:
    text = 'service.store = "x"\n[ canaries ] # a\n"share" = 1\n[log]\nlevel="a"\n'
    assert line_numbers(text) == {
        "service.store": 1,
        "service": 1,
        "canaries": 2,
        "canaries.share": 3,
        "log": 4,
        "log.level": 5,
    }


def test_every_setting_stands_in_the_document_and_in_json() -> None:
    text = configuration_text(Configuration())
    for section, spec in all_settings():
        assert variable(section, spec.name) in text
    assert set(json.loads(json.dumps(asdict(Configuration())))) == set(SECTIONS)
