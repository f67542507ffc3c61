"""How programs end on what can be mended: one sentence on standard error, exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from schemas.errors import SimpersonaError
from streams.log_lines import complain


@contextmanager
def one_sentence() -> Iterator[None]:
    """Print a mendable error or a setting of the wrong type as one sentence and exit; other errors pass."""
    try:
        yield
    except SimpersonaError as error:
        complain(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except ValidationError as error:
        first = error.errors()[0]
        name = "SIMPERSONA_" + "_".join(str(part) for part in first["loc"]).upper()
        sentence = f"Setting {name} has the value {first['input']!r}: {first['msg']}; correct the environment variable."
        complain(sentence, SimpersonaError.exit_code)
        sys.exit(SimpersonaError.exit_code)
