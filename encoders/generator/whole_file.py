"""Files that take their name only when they are complete."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoders.errors import GeneratorError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a hidden path beside ``path`` to write to; on a good end it becomes ``path``, on any error it is removed.

    Raises GeneratorError when the file cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise GeneratorError(f"{path}: the disk is full; free some space or choose another place.") from error
        raise GeneratorError(f"{path}: cannot be written ({error.strerror or error}).") from error
