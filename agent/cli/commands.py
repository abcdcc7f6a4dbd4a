"""The commands by name: where each lives and what it does, so that help needs to import none."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("agent.cli.doctor:command", "Say what works on this machine, and what to install."),
}
"""Name: (module:attribute, one line of help). In the order of a user's way, as help lists them."""
