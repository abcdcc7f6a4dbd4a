"""The configuration as a TOML file that explains itself."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from typing import Any

from agent.service.configuration import variable
from agent.service.settings import SECTIONS, Configuration, all_settings


def configuration_text(configuration: Configuration) -> str:
    """Every setting with its meaning, its variable, and its value; `read_configuration` reads it.

    Args:
        configuration: whose values are written.
    """
    values = asdict(configuration)
    lines: list[str] = []
    written = ""
    for section, spec in all_settings():
        if section != written:
            written = section
            about = (SECTIONS[section].__doc__ or "").partition("]`")[2].strip(":,. ")
            lines += ["", f"[{section}]", *([f"# {about}"] if about else [])]
        words = spec.metadata["words"]
        choices = f": {', '.join(words)}" if words else ""
        meaning = f"{spec.metadata['meaning']}{choices} ({variable(section, spec.name)})"
        lines += [f"# {line}" for line in textwrap.wrap(meaning, 96)]
        lines.append(f"{spec.name} = {_toml(values[section][spec.name])}")
    return "\n".join(lines[1:])


def _toml(value: Any) -> str:
    """A value as TOML writes it; text in quotes is the same in JSON."""
    return json.dumps(value, ensure_ascii=False)
