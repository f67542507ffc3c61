"""The root of every error the product raises on purpose.

Each package keeps its own branch in its own ``errors.py``; the command line turns any of them into one sentence and
the exit code below, never a traceback.
"""


class SimpersonaError(Exception):
    """Something the user can mend. The message names the thing, what was wrong with it and what to do."""

    exit_code = 2
