"""The command ``simpersona``: finds each command's module by its name and loads it only when it is called."""

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as click_command

from infra.one_sentence import one_sentence
from schemas.errors import SimpersonaError
from streams.log_lines import INTERRUPTED, complain, end_interrupted, hush_store

#: Every command, in the order of a first day with the product, with the line shown by ``simpersona --help``.
COMMANDS = {
    "demo": "Run the whole path on this machine and watch it in the browser.",
    "up": "Start the embedded broker, store and web pages and keep them running.",
    "doctor": "Check broker, store, schemas, encoder and clock, and say what to do.",
    "migrate": "Bring the ClickHouse tables and Kafka topics up to date.",
    "import": "Turn a raw click log into a canonical event log.",
    "generate": "Make shoppers with planted buyer types, and the truth beside them.",
    "train": "Train an encoder on event logs, or straight from Kafka.",
    "assign": "Assign a buyer type to every session of an event log, offline.",
    "worker": "Run one stream worker.",
    "replay": "Produce an event log to Kafka in event-time order.",
    "distribution": "Show a merchant's latest mix of buyer types.",
    "adapt": "Follow recent traffic with a new codebook whose types keep their names; or roll back.",
    "finetune": "Teach a language model to click like each buyer type.",
    "simulate": "Send simulated buyers through a merchant's storefront.",
    "agents": "Keep a live population per merchant in step with the latest mix.",
    "align": "Hold simulated buyers against real ones on storefronts never seen.",
    "bench": "Measure, beside the peers, and print figures as JSON.",
}


class LazyCommands(TyperGroup):
    """A group whose commands are imported on use, so that ``--help`` and the worker never load torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the command names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, its module imported; None makes the caller print "No such command"."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"infra.cli.{cmd_name}{'_' if cmd_name == 'import' else ''}")
        command = click_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands with their lines without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyCommands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback()
def simpersona() -> None:
    """Buyer types from live clickstreams, and simulated buyers grown from them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. A mendable error is printed as one sentence with exit code 2, Ctrl-C ends with 130."""
    hush_store()
    try:
        with one_sentence():
            app(args=list(arguments) if arguments is not None else None)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain(
            "The output cannot be written, its disk is full; free some space or send it elsewhere.",
            SimpersonaError.exit_code,
        )
        # What could not be written is still waiting: Python would try again at the end, and complain on its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(SimpersonaError.exit_code)
    except KeyboardInterrupt:
        end_interrupted()
    except SystemExit as end:
        # Typer handles most of them itself.
        if end.code == INTERRUPTED:
            end_interrupted()
        raise


if __name__ == "__main__":
    main()
