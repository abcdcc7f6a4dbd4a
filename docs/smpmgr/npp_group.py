"""npp-agent for smpmgr: smpmgr --plugin-path=docs/smpmgr --port PORT npp status."""  # noqa: INP001  # a folder for smpmgr

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import typer
from rich import print  # noqa: A004  # as smpmgr's own groups print
from smpclient import SMPClient
from smpclient.generics import success
from smpmgr.common import Options, connect_with_spinner, get_smpclient

sys.path.insert(0, str(Path(__file__).parent))  # smpmgr loads this file, and nothing beside it

import npp_messages as npp

app = typer.Typer(name="npp", help="A board that runs npp-agent (group 78).")
POLL_S = 0.2


def _ask(context: typer.Context, request: Any, *, wait: bool = False) -> None:
    """Ask, and print the answer; with `wait` that of the job, once it has ended."""

    async def talk() -> None:
        client = get_smpclient(cast("Options", context.obj))
        await connect_with_spinner(client)
        answer = await _asked(client, request)
        if wait:
            answer = await _ended(client, answer.job)
        print(_plain(answer))

    asyncio.run(talk())


async def _ended(client: SMPClient, number: int) -> Any:
    # The protocol has no way to wait but to ask again.
    while (job := await _asked(client, npp.Job(job=number))).state == "running":  # noqa: ASYNC110  # see above
        await asyncio.sleep(POLL_S)
    return job


async def _asked(client: SMPClient, request: Any) -> Any:
    answer = await client.request(request)
    if success(answer):
        return answer
    why = await client.request(npp.Reason())
    typer.echo(f"the board says: {why.text if success(why) else answer}", err=True)
    raise typer.Exit(code=1)


def _plain(answer: Any) -> dict[str, Any]:
    """The map without what smp keeps beside it."""
    return cast(
        "dict[str, Any]",
        answer.model_dump(exclude={"header", "version", "sequence", "smp_data"}),
    )


@app.command()
def status(context: typer.Context) -> None:
    """Say how the board does."""
    _ask(context, npp.Status())


@app.command()
def layers(context: typer.Context) -> None:
    """Say how its layers do, as measured last."""
    _ask(context, npp.Layers())


@app.command()
def history(context: typer.Context, last: int = 10) -> None:
    """Say what happened."""
    _ask(context, npp.History(last=last))


@app.command()
def measure(context: typer.Context) -> None:
    """Measure, and wait for it."""
    _ask(context, npp.Measure(), wait=True)


@app.command()
def calibrate(context: typer.Context, samples: int = 32) -> None:
    """Calibrate, and wait for it; where no key is asked for."""
    _ask(context, npp.Calibrate(samples=samples), wait=True)


@app.command()
def rollback(context: typer.Context) -> None:
    """Let older factors run again; where no key is asked for."""
    _ask(context, npp.Rollback(), wait=True)
