"""A real broker and a real Prometheus, of this machine's packages, on free ports of the loopback.

They are started from temporary directories and stopped again, and never as services of the system.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

LOOPBACK = "127.0.0.1"
PATIENCE_S = 60.0
"""How long something may take on a busy machine before it counts as not happening."""

Found = TypeVar("Found")


def program(name: str, package: str) -> str:
    """The path of a program, or the test is skipped."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed; on Debian: sudo apt install {package}")
    return found


def free_port() -> int:
    """A port that nothing listens at just now."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


def eventually(look: Callable[[], Found], *, every_s: float = 0.05) -> Found:
    """What a look finds, once it finds something."""
    until = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < until, f"still {found!r} after {PATIENCE_S:.0f} s"
        time.sleep(every_s)
    return found


@contextmanager
def listening(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it listens."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            eventually(lambda: _answers(process, port, log))
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0


@dataclass(frozen=True)
class Broker:
    """A Mosquitto that can be started more than once."""

    folder: Path
    port: int
    settings: str

    @contextmanager
    def running(self) -> Iterator[None]:
        """It runs; it remembers nothing of the time before."""
        configuration = self.folder / "mosquitto.conf"
        lines = f"listener {self.port} {LOOPBACK}\nuser {getpass.getuser()}\n{self.settings}\n"
        configuration.write_text(lines, encoding="utf-8")
        command = [program("mosquitto", "mosquitto"), "-c", str(configuration)]
        with listening(command, self.port, self.folder / "mosquitto.log"):
            yield


def broker(folder: Path, settings: str = "allow_anonymous true") -> Broker:
    """A broker that is not running yet."""
    program("mosquitto", "mosquitto")
    return Broker(folder, free_port(), settings)


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that is asked over HTTP."""

    port: int

    def asked(self, path: str, **query: str) -> Any:
        """The data of an answer."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url) as answer:  # our own, on the loopback
            document = json.load(answer)
        assert document["status"] == "success"
        return document["data"]

    def values(self, query: str) -> Mapping[str, float]:
        """The newest values of a query, by the label `layer` or `state`, else by their name."""
        found = {}
        for one in self.asked("query", query=query)["result"]:
            labels = one["metric"]
            name = labels.get("layer") or labels.get("state") or labels.get("__name__", "")
            found[name] = float(one["value"][1])
        return found


@contextmanager
def prometheus(folder: Path, target_port: int, rules: Path) -> Iterator[Prometheus]:
    """A Prometheus that reads one target each second."""
    server, port = program("prometheus", "prometheus"), free_port()
    configuration = folder / "prometheus.yml"
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "boards", "static_configs": [{"targets": [f"{LOOPBACK}:{target_port}"]}]}
        ],
    }
    configuration.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    command = [
        server,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    with listening(command, port, folder / "prometheus.log"):
        eventually(lambda: _is_ready(port))
        yield Prometheus(port)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/-/ready"):  # our own
            return True
    except urllib.error.HTTPError as error:  # it listens before it has read its data
        error.close()
        return False
