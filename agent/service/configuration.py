"""The configuration of the service: one TOML file, and what the environment says instead.

All that is wrong with it is said at once, each with its line.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from agent.errors import InputError
from agent.service.settings import SECTIONS, Configuration, all_settings, problem_with

SYSTEM_FILE = Path("/etc/npp-agent.toml")
FILE_VARIABLE = "NPP_CONFIG"
LARGEST_FILE_BYTES = 65_536

_HEAD = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")
_NUMBER = re.compile(r"[-+]?[0-9]+")


@dataclass(frozen=True)
class Given:
    """A value, and where it was given."""

    value: object
    where: str


Values = dict[tuple[str, str], Given]
"""By section and name."""


def default_file(
    environment: Mapping[str, str] = os.environ, system: Path = SYSTEM_FILE
) -> Path | None:
    """The file that `$NPP_CONFIG` names, else the system's if it is there."""
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    return system if system.exists() else None


def variable(section: str, name: str) -> str:
    """The environment variable that overrides a setting."""
    return f"NPP_{section}_{name}".upper()


def read_configuration(
    file: Path | None,
    environment: Mapping[str, str] = os.environ,
    options: Mapping[tuple[str, str], object] | None = None,
) -> Configuration:
    """The configuration: defaults, what a file says, what the environment says, what options say.

    Args:
        file: the TOML file; None for none.
        environment: variables such as `NPP_CANARIES_SHARE`.
        options: of the command line, by section and name.

    Raises:
        InputError: the file cannot be read, or anything in it or in the environment is wrong; the
            sentence lists all of it.
    """
    problems: list[str] = []
    values: Values = {}
    if file is not None:
        values |= _from_file(file, problems)
    values |= _from_environment(environment, problems)
    for key, value in (options or {}).items():
        values[key] = Given(value, f"--{key[1]}")
    known = {(section, spec.name): spec for section, spec in all_settings()}
    for key, given in values.items():
        if problem := problem_with(known[key], given.value):
            problems.append(f"{given.where}: {key[0]}.{key[1]} {problem}")
    problems += _contradictions(values) if not problems else []
    if problems:
        raise InputError(f"the configuration cannot be used: {'; '.join(problems)}")
    return _built(values)


def _built(values: Values) -> Configuration:
    chosen: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        own = {
            spec.name: _converted(spec, values[section, spec.name].value)
            for spec in fields(kind)
            if (section, spec.name) in values
        }
        chosen[section] = kind(**own)
    return Configuration(**chosen)


def _converted(spec: Field[Any], value: Any) -> Any:
    return float(value) if type(spec.default) is float else value


def _contradictions(values: Values) -> list[str]:
    """What is right alone and wrong together."""
    settings = _built(values).calibration
    if settings.longest_interval_s >= settings.least_interval_s:
        return []
    names = [("calibration", f"{which}_interval_s") for which in ("longest", "least")]
    where = next(values[name].where for name in names if name in values)
    longest, least = settings.longest_interval_s, settings.least_interval_s
    return [f"{where}: calibration.longest_interval_s is {longest:g}, below least, {least:g}"]


def _from_file(path: Path, problems: list[str]) -> Values:
    text = _read(path)
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no valid TOML: {error or 'nested too deeply'}") from error
    lines = line_numbers(text)

    def where(*names: str) -> str:
        line = lines.get(".".join(names))
        return f"{path}, line {line}" if line else str(path)

    values: Values = {}
    for section, inner in table.items():
        if section not in SECTIONS:
            problems.append(f"{where(section)}: unknown section [{section}]{_near(section)}")
        elif not isinstance(inner, dict):
            problems.append(f"{where(section)}: {section} is a value; write a section [{section}]")
        else:
            names = [spec.name for spec in fields(SECTIONS[section])]
            for name, value in inner.items():
                place = where(section, name)
                if name in names:
                    values[section, name] = Given(value, place)
                else:
                    hint = _near(name, names) or f"; there are {', '.join(names)}"
                    problems.append(f"{place}: unknown setting {section}.{name}{hint}")
    return values


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Values:
    known = {variable(section, spec.name): (section, spec) for section, spec in all_settings()}
    values: Values = {}
    for name, text in sorted(environment.items()):
        if name in known:
            section, spec = known[name]
            values[section, spec.name] = Given(_parsed(text, spec), f"${name}")
        elif name.startswith(tuple(f"NPP_{section}_".upper() for section in SECTIONS)):
            problems.append(f"${name}: there is no such setting{_near(name, known)}")
    return values


def _parsed(text: str, spec: Field[Any]) -> object:
    """A value as the environment writes it; text where it is none of the setting's type."""
    kind: Any = type(spec.default)
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind is int and _NUMBER.fullmatch(text):
        return int(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"cannot read the configuration {path}: {reason}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {LARGEST_FILE_BYTES} bytes; this is no configuration"
        )
    return text


def line_numbers(text: str) -> dict[str, int]:
    """Where each section and each setting, as `section.name`, is first written in a TOML text."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if head := _HEAD.match(line):
            section = _plain(head.group(1))
            found.setdefault(section, number)
        elif key := _KEY.match(line):
            name = _plain(key.group(1))
            whole = f"{section}.{name}" if section else name
            found.setdefault(whole, number)
            found.setdefault(whole.split(".")[0], number)
    return found


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))


def _near(name: str, known: Iterable[str] = tuple(SECTIONS)) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
