"""Options as they were typed: what tells one that was given from one that has its default."""

from collections.abc import Collection

import typer

from infra.errors import ArgumentError


def given(context: typer.Context) -> dict[str, str]:
    """Return the options that were typed: the parameter's name -> how it is written."""
    typed = [
        param
        for param in context.command.params
        if param.name and (source := context.get_parameter_source(param.name)) and source.name == "COMMANDLINE"
    ]
    return {str(param.name): param.opts[0] for param in typed}


def take_only(context: typer.Context, mode: str, heeded: Collection[str]) -> None:
    """Raise ArgumentError when an option was typed that ``mode`` would not heed.

    mode  the option that decides what the command does; ``heeded`` are the parameters that go with it
    """
    idle = [option for name, option in given(context).items() if name not in heeded]
    if idle:
        raise ArgumentError(f"{mode} takes no notice of {', '.join(idle)}; leave {'them' if idle[1:] else 'it'} out.")
