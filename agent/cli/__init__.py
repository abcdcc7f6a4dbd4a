"""What a user types: one command a file, imported only when it is called."""

import os
import sys

from agent.threads import THREADS


def main() -> None:
    """Run the command that the command line names, and end the process with its exit code."""
    # Small layers make small products, and there a second thread costs more than it does: on two
    # cores that had other work, the demo took 14 s with two threads and 4 s with one.
    for name in THREADS:
        os.environ.setdefault(name, "1")  # read once, when NumPy is imported

    from agent.cli.program import run  # noqa: PLC0415  # naming the entry point loads nothing

    sys.exit(run(sys.argv[1:]))
