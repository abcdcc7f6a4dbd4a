"""A running agent that can be reached by lines: what they change, it takes over."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from agent.drift import Drift
from agent.link.authentication import read_key
from agent.link.port import LineSettings
from agent.link.server import Server
from agent.link.service import LinkService, ServeOptions
from agent.link.staging import StagingArea
from agent.link.store_board import StoreBoard
from agent.notices import Notice, warning
from agent.report import measurement_document
from agent.service.hooks import Hooks
from agent.service.keeper import Seen
from agent.service.settings import Configuration, LinkSettings
from agent.store.layout import UPLOADS
from agent.store.store import Store
from agent.tasks import Measured
from calib.verify import Judgement

LONGEST_WAIT_S = 20.0
"""For a job under way when the service ends; what is not done then is as if the power went."""


@contextmanager
def linked(hooks: Hooks) -> Iterator[Seen]:
    """Serve the configured lines; yields what shows them rounds of canaries.

    Raises:
        LinkError: a line cannot be opened.
        InputError: the key cannot be read.
    """
    settings, store = hooks.configuration.link, hooks.agent.session.store
    board = StoreBoard(
        store,
        allow_unsigned=settings.allow_unsigned,
        restart=hooks.restart,
        changed=hooks.agent.refresh,
        answers=hooks.answers,
        configured=lambda: _as_text(hooks.configuration),
    )
    urls = [url.strip() for url in settings.ports.split(",") if url.strip()]

    def tell(sentence: str) -> None:
        hooks.log(warning("link", sentence))

    with _uploads(store) as directory:
        server = Server(board, StagingArea(directory))
        with LinkService(server, urls, _options(settings), tell) as service:
            hooks.log(Notice("link", {"ports": ", ".join(service.addresses)}))
            yield _seen(board, server, hooks)
        server.jobs.wait(LONGEST_WAIT_S)


@contextmanager
def _uploads(store: Store) -> Iterator[Path]:
    """Where uploads go: in the store's directory; of an image, one that ends with the agent."""
    if store.path.is_dir():
        yield store.path / UPLOADS
        return
    with tempfile.TemporaryDirectory(prefix="npp-agent-") as directory:
        yield Path(directory)


def _seen(board: StoreBoard, server: Server, hooks: Hooks) -> Seen:
    """Shows rounds of canaries to whoever is at a line."""

    def show(judgement: Judgement, drift: Drift) -> None:
        loop = hooks.agent.session.loop
        ranks = {layer.name: loop.factors[layer.name].rank for layer in loop.network.layers}
        event = board.saw(Measured(measurement_document(judgement, drift), ranks))
        if event:
            server.tell(event)

    return show


def _options(settings: LinkSettings) -> ServeOptions:
    return ServeOptions(
        key=read_key(Path(settings.key)) if settings.key else None,
        allow_unauthenticated=settings.allow_unauthenticated,
        settings=LineSettings(
            settings.baud_rate,
            hardware_flow_control=settings.flow_control == "hardware",
            software_flow_control=settings.flow_control == "software",
        ),
    )


def _as_text(configuration: Configuration) -> Mapping[str, str]:
    """The configuration, but for where the key lies."""
    return {
        f"{section}/{name}": str(value)
        for section, values in asdict(configuration).items()
        for name, value in values.items()
        if (section, name) != ("link", "key")
    }
