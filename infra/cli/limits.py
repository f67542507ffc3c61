"""Bounds of what can be typed: beyond them a command could only fail later, and less clearly."""

import math
import os

import typer

#: The largest seed that every generator of random numbers takes.
SEED_MAX = 2**63 - 1
#: A few for every core; below the floor any machine can start that many.
THREADS_MAX = max(64, 4 * (os.cpu_count() or 1))
#: A year, as for ``generate``: a run's event times must stay times that the stream accepts.
RUN_HOURS_MAX = 24.0 * 366
#: A century, all the time that event times can span.
PAST_HOURS_MAX = 24.0 * 366 * 100
#: Ports of TCP.
PORT_MAX = 65_535


def finite(value: float | None) -> float | None:
    """Return an option's value; the callback of numbers, as ``min`` and ``max`` let nan through."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number to work with.")
    return value


def named(value: str | None) -> str | None:
    """Return an option's value; the callback of names, as an empty one would be taken for none at all."""
    if value == "":
        raise typer.BadParameter("is empty; name one, or leave it out.")
    return value
