"""The program: finds a command, runs it, and turns whatever happens into an exit code.

Exit codes: 0 done; 1 error, one sentence on stderr and nothing on stdout; 2 wrong usage; 3 refused;
4 busy; 5 above a limit; 130 interrupted. The codes from 3 on are the commands' own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from agent import __version__
from agent.cli.commands import COMMANDS
from agent.cli.failures import report, silence_stdout


class LazyGroup(click.Group):
    """Knows its commands from the table alone and imports the one that is called.

    Overriding these three methods is the way that click provides for it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where the table has no such name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), f"{module} has no command"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: npp-agent COMMAND --help.",
)
@click.version_option(__version__, prog_name="npp-agent")
def program() -> None:
    """Recalibrate a neural network on the device, for the chip that it runs on."""


def run(arguments: Sequence[str], command: click.Command = program) -> int:
    """Run the program with these arguments and return its exit code; raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            # A terminal that cannot show a character shows a question mark, not a traceback.
            reconfigure(errors="replace")
    try:
        code = command.main(list(arguments), prog_name="npp-agent", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as leaving:  # click's own way out when stdout was closed
        silence_stdout()
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:  # noqa: BLE001  # the one place where all errors end
        return report(error)
    return code if isinstance(code, int) else 0
