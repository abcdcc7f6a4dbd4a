"""What a user types: one command a file, imported only when it is called."""

import sys


def main() -> None:
    """Run the command that the command line names, and end the process with its exit code."""
    from agent.cli.program import run  # noqa: PLC0415  # naming the entry point loads nothing

    sys.exit(run(sys.argv[1:]))
