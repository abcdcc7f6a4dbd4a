"""The one place where errors become what a user sees: a sentence on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback

import click

from agent.errors import AgentError
from calib.errors import CalibError
from device_models.errors import DeviceModelError

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def report(error: BaseException) -> int:
    """Print the sentence that explains an error, and return its exit code."""
    if isinstance(error, BrokenPipeError):
        silence_stdout()  # who read our output has left; there is nobody to tell
        return 1
    if isinstance(error, click.UsageError):
        error.show()
        return error.exit_code
    if os.environ.get("NPP_DEBUG") == "1":
        traceback.print_exception(error)
    code, sentence = explain(error)
    click.echo(f"npp-agent: {' '.join(sentence.split())}", err=True)
    silence_stdout()
    return code


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code of an error, and the sentence that says what is wrong and what to do."""
    match error:
        case AgentError() | CalibError() | DeviceModelError():
            return getattr(error, "exit_code", 1), str(error)
        case click.Abort() | KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case click.ClickException():
            return error.exit_code, error.format_message()
        case OSError():
            return 1, _system_sentence(error)
        case MemoryError():
            return 1, "out of memory; use fewer samples, or a machine with more memory"
        case _:
            return 1, (
                f"unexpected {type(error).__name__}: {str(error) or 'no message'}; npp-agent has a "
                "defect: run the command again with NPP_DEBUG=1 and report what it prints"
            )


def _system_sentence(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    place = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"{place}: {reason}" if place else reason


def silence_stdout() -> None:
    """Drop what stdout still holds if it cannot be written, so that the exit stays quiet."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        except (OSError, ValueError):
            pass  # no file descriptor, so nothing is flushed at the exit either
        finally:
            os.close(nowhere)
