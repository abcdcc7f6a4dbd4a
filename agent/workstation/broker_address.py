"""Which broker `monitor --mqtt` tells, as whom, and under which topic."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from agent.errors import InputError

USER_VARIABLE = "NPP_MQTT_USER"
PASSWORD_VARIABLE = "NPP_MQTT_PASSWORD"  # noqa: S105  # the name of a variable

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FORM = "mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]"
_LONGEST = 1024
_NOT_IN_TOPICS = re.compile(r"[+#\x00-\x1f\x7f]")


@dataclass(frozen=True)
class BrokerAddress:
    """A broker, and the board's place in it."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    topic: str
    """What stands before `/status`, `/state` and `/event`."""

    def __str__(self) -> str:
        """Where it is, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def broker_address(url: str, line: str, environment: Mapping[str, str]) -> BrokerAddress:
    """Read the address of a broker.

    Args:
        url: `mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]`, percent-encoded where needed.
        line: the board's address, for a topic of its own where the URL has none.
        environment: has user name and password that do not stand in the URL.

    Raises:
        InputError: it is no such address, or the topic cannot be one. The sentence has no password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"--mqtt is no address ({error}); give {_FORM}") from error
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"--mqtt {_without_user(parts)} is no address; give {_FORM}")
    user = environment.get(USER_VARIABLE) if parts.username is None else unquote(parts.username)
    password = parts.password
    password = environment.get(PASSWORD_VARIABLE) if password is None else unquote(password)
    if password is not None and not user:
        raise InputError(
            f"a password for the broker stands alone: name a user, in the URL or in {USER_VARIABLE}"
        )
    return BrokerAddress(
        parts.hostname,
        port or _PORTS[parts.scheme],
        parts.scheme == "mqtts",
        user or None,
        password,
        _given_topic(unquote(parts.path.strip("/"))) or _topic_of(line),
    )


def _without_user(parts: SplitResult) -> str:
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=place).geturl()


def _given_topic(topic: str) -> str:
    """The topic, if it can be published under.

    Raises:
        InputError: it has characters of MQTT's own, or is too long.
    """
    if _NOT_IN_TOPICS.search(topic) or topic.startswith("$") or len(topic) > _LONGEST:
        raise InputError(
            f"--mqtt: {topic[:80]!r} cannot be a topic: no +, no #, no control characters, no $ at "
            f"its beginning, and at most {_LONGEST} characters"
        )
    return topic


def _topic_of(line: str) -> str:
    """`npp-agent/MACHINE/LINE`: one board's own, as long as its line has the same name."""
    name = line.rpartition("/")[2] or "board"
    return "/".join(_NOT_IN_TOPICS.sub("-", part) for part in ("npp-agent", _machine(), name))


def _machine() -> str:
    return socket.gethostname().replace("/", "-") or "localhost"
