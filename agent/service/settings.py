"""What can be configured: every setting with its default, its limits and what it means.

A setting is a field here, and nothing more: the file, the environment, `npp-agent config` and the
checks follow from it. NumPy is not needed to say what the defaults are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

METHODS = ("auto", "probe", "sequential", "gradient", "gradient-from-zero")
RULES = (
    "sensitivity",
    "random",
    "all",
    "loss",
    "margin",
    "entropy",
    "error-norm",
    "coverage",
    "sensitivity-coverage",
    "representative",
)
"""The methods and rules that `calibrate` knows; a test compares them, for importing them would load
NumPy."""

FLOW_CONTROLS = ("none", "hardware", "software")
LEVELS = ("debug", "info", "notice", "warning", "error")


def _setting(
    default: Any,
    meaning: str,
    *,
    least: float | None = None,
    most: float | None = None,
    words: tuple[str, ...] | None = None,
) -> Any:
    facts = {"meaning": meaning, "least": least, "most": most, "words": words}
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class ServiceSettings:
    """`[service]`."""

    store: str = _setting("", "the store; empty: $NPP_STORE, the system's or the user's")
    source: str = _setting(
        "none",
        "where inputs come from: - (.npy frames on standard input), a directory that is being "
        "filled, none, or the name of a plugin",
    )
    follow_s: float = _setting(
        1.0, "pause between two looks at what others did to the store", least=0.01, most=3600
    )


@dataclass(frozen=True)
class DirectorySettings:
    """`[directory]`, for a source that is one."""

    poll_s: float = _setting(0.1, "pause between two looks at the directory", least=0.01, most=3600)
    settle_s: float = _setting(
        0.2, "how long a file has to stay as it is before it counts as complete", least=0, most=3600
    )
    after: str = _setting(
        "keep", "what becomes of a file that was answered", words=("keep", "delete")
    )


@dataclass(frozen=True)
class CanarySettings:
    """`[canaries]`: reference samples that are run between inferences."""

    share: float = _setting(0.05, "of the time, at most; 0 for none at all", least=0, most=0.5)
    every_s: float = _setting(60.0, "pause between the beginnings of two rounds", least=0, most=1e7)


@dataclass(frozen=True)
class CalibrationSettings:
    """`[calibration]`."""

    auto: bool = _setting(default=False, meaning="calibrate by itself when the chip has drifted")
    samples: int = _setting(
        32, "how many of the references are run on the chip", least=1, most=1_000_000
    )
    select: str = _setting("sensitivity", "which, see `calibrate --select`", words=RULES)
    method: str = _setting("auto", "how, see `calibrate --method`", words=METHODS)
    least_interval_s: float = _setting(
        3600.0,
        "between two calibrations; doubled by each further one that did not help",
        least=0,
        most=1e9,
    )
    longest_interval_s: float = _setting(604800.0, "what that doubling ends at", least=0, most=1e9)
    least_gain: float = _setting(
        0.003,
        "what a calibration has to be worth while the flash budget is full: the share of the "
        "answers' information that it gives back",
        least=0,
        most=1e6,
    )
    bytes_per_day: float = _setting(
        65536.0, "that may be written to flash by calibrations", least=0, most=1e12
    )
    erases_per_day: float = _setting(
        32.0, "of flash sectors of 4 KiB, for the same", least=0, most=1e9
    )
    days_kept: float = _setting(
        7.0, "for how long what is not written stays in the budget", least=0.01, most=3650
    )
    needs_mains: bool = _setting(default=True, meaning="wait while the machine runs on a battery")
    thermometer: str = _setting(
        "",
        "a file with the chip's temperature in millidegrees, such as "
        "/sys/class/thermal/thermal_zone0/temp; empty: what the store says of an emulated chip",
    )
    settled_k: float = _setting(
        3.0, "how much the temperature may have changed within settling_s", least=0, most=1e3
    )
    settling_s: float = _setting(900.0, "see settled_k", least=0, most=86400)


@dataclass(frozen=True)
class WatchSettings:
    """`[watch]`: when the chip counts as drifted."""

    days_between_false_alarms: float = _setting(
        90.0, "mean time without a change until something alarms", least=0.1, most=36500
    )
    tolerated_growth: float = _setting(
        0.1, "of layer errors or of the loss, that nobody minds", least=0, most=100
    )
    calm_rounds: int = _setting(
        3, "rounds of canaries without a sign before a state is left", least=1, most=10_000
    )
    failed_loss: float = _setting(
        0.05,
        "share of the answers' information that is lost, from which on a chip that calibrations "
        "cannot repair has failed",
        least=0,
        most=1e6,
    )


@dataclass(frozen=True)
class LinkSettings:
    """`[link]`: the lines that the agent can be reached by, see docs/protocol.md."""

    ports: str = _setting(
        "",
        "device paths, tcp-listen://HOST:PORT (the loopback where no HOST is named) and pty:NAME, "
        "with commas in between; empty for none",
    )
    baud_rate: int = _setting(115_200, "of the device paths", least=50, most=4_000_000)
    flow_control: str = _setting(
        "none", "of the device paths: RTS and CTS, or XON and XOFF", words=FLOW_CONTROLS
    )
    key: str = _setting(
        "",
        "a file with the key that commands are signed with, see `config --make-key`; without one, "
        "lines but local ptys can only be read and uploaded to",
    )
    allow_unauthenticated: bool = _setting(
        default=False, meaning="let whoever reaches a line change things without the key"
    )
    allow_unsigned: bool = _setting(
        default=False, meaning="install bundles over a line that nobody signed"
    )


@dataclass(frozen=True)
class LogSettings:
    """`[log]`."""

    level: str = _setting("info", "what is not worth less is told", words=LEVELS)


@dataclass(frozen=True)
class Configuration:
    """All settings, by section."""

    service: ServiceSettings = field(default_factory=ServiceSettings)
    directory: DirectorySettings = field(default_factory=DirectorySettings)
    canaries: CanarySettings = field(default_factory=CanarySettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    log: LogSettings = field(default_factory=LogSettings)


SECTIONS: dict[str, type[Any]] = {
    "service": ServiceSettings,
    "directory": DirectorySettings,
    "canaries": CanarySettings,
    "calibration": CalibrationSettings,
    "watch": WatchSettings,
    "link": LinkSettings,
    "log": LogSettings,
}


def all_settings() -> Iterator[tuple[str, Field[Any]]]:
    """Each setting with its section."""
    for section, kind in SECTIONS.items():
        for spec in fields(kind):
            yield section, spec


def problem_with(spec: Field[Any], value: object) -> str | None:
    """Why a setting cannot have this value, as the end of a sentence; None if it can."""
    facts, kind = spec.metadata, type(spec.default)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        return f"is {_shown(value)}; give {_KINDS[kind]}"
    if facts["words"] is not None and value not in facts["words"]:
        return f"is {_shown(value)}; give one of {', '.join(facts['words'])}"
    least, most = facts["least"], facts["most"]
    if isinstance(value, int | float) and least is not None and not least <= value <= most:
        return f"is {value}; give a number from {least:g} to {most:g}"
    return None


_KINDS: dict[type, str] = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def _shown(value: object) -> str:
    return repr(value)[:60] if not isinstance(value, bool) else str(value).lower()
