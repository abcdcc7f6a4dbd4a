"""Errors of everything a user starts.

    AgentError                      base; one clear sentence, and the exit code it leads to (1)
    ├── InputError                  a data file, TOML file or value from the user is unusable
    ├── BundleError                 a bundle is damaged, foreign, or of another format
    ├── RuntimeUnavailableError     a runtime is not installed, or cannot do what is asked
    ├── LinkError                   a line cannot be opened, or who is at its other end is no board
    │   ├── LinkLostError           the line is gone, or nobody answers any more
    │   └── RemoteError             the board refuses; its sentence, and its exit code
    ├── StoppedError                a running agent ends; what was under way changed nothing
    ├── SimulationInterruptedError  the user stopped a simulation (exit code 130)
    └── StoreError                  the store cannot be read or written
        ├── NoBundleError           no bundle is installed there
        ├── StoreVersionError       the store was written in another format
        ├── NotAStoreError          the directory belongs to something else
        ├── UntrustedStoreError     every user of the machine can write it
        ├── NothingToRollBackError  the wanted factors are not there
        └── StoreLockedError        another process works on the store (exit code 4)

Every message says what is wrong, where, both values, and what to do. A calibration that does not
help is no error but a result, with exit code 3.
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of all errors raised by `agent`."""

    exit_code: ClassVar[int] = 1


class InputError(AgentError):
    """A data file, TOML file or value given by the user cannot be used."""


class BundleError(AgentError):
    """A bundle is damaged, foreign, or of another format."""


class RuntimeUnavailableError(AgentError):
    """A runtime is not installed, or cannot do what is asked of it."""


class LinkError(AgentError):
    """A line cannot be opened, or nothing at its other end speaks our protocol."""


class LinkLostError(LinkError):
    """The line is gone, or nobody answers any more; trying again may help."""


class RemoteError(LinkError):
    """The board refuses what it was asked.

    Args:
        sentence: the board's.
        exit_code: that the same command has on the board.
        explained: the sentence is the board's own; else it has none, and may be no board of ours.
    """

    def __init__(self, sentence: str, exit_code: int = 1, *, explained: bool = False) -> None:
        """Keep the board's words."""
        super().__init__(sentence)
        self.explained = explained
        self.exit_code = exit_code  # type: ignore[misc]  # this error's is the board's own


class StoppedError(AgentError):
    """The agent ends while it calibrates; nothing was committed."""


class SimulationInterruptedError(AgentError):
    """The user stopped a simulation; the sentence says what is kept and how to go on."""

    exit_code: ClassVar[int] = 130


class StoreError(AgentError):
    """The store, or another file of ours, cannot be read or written."""


class NoBundleError(StoreError):
    """No bundle is installed in the store."""


class StoreVersionError(StoreError):
    """The store was written in a format that this version does not know."""


class NotAStoreError(StoreError):
    """The directory holds something else than a store."""


class UntrustedStoreError(StoreError):
    """Every user of the machine can write the store, so what is in it is not trusted."""


class NothingToRollBackError(StoreError):
    """The factors to go back to are not in the store."""


class StoreLockedError(StoreError):
    """Another process holds the store."""

    exit_code: ClassVar[int] = 4
