"""What a command writes: claimed before its work begins, so that nothing is lost and no work is done in vain."""

import json
import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from infra.errors import ArgumentError


def claim(files: Mapping[str, Path | None], reads: Sequence[Path | None] = (), folder: Path | None = None) -> None:
    """Make sure that a command can write its outputs, and make the folders its files go to; call it before the work.

    files   option -> the file it names; None where it was not given
    reads   files and folders that the command reads
    folder  what --out names where that is written as a whole folder

    Raises ArgumentError when outputs overlap each other or what is read, when a file is a folder, or when it cannot be
    written. Files that are there already are replaced, as everywhere.
    """
    named = {option: path for option, path in files.items() if path is not None}
    for option, path in named.items():
        if path.is_dir():
            raise ArgumentError(f"{option} {path}: is a folder; name a file to write.")
    written = named if folder is None else {"--out": folder, **named}
    for option, path in written.items():
        for source in reads:
            if source is not None and (clash := _clash(path, source)):
                raise ArgumentError(f"{option} {path}: {clash} {source}, which the command reads; name another place.")
    for (one, path), (other, place) in combinations(written.items(), 2):
        if _clash(path, place):
            raise ArgumentError(f"{other} {place}: is in the way of {one} {path}; name another place.")
    for option, path in named.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(f"{option} {path}", error) from error
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise _unwritable(f"{option} {path}", PermissionError(0, "no permission"))


def write_text(path: Path, text: str) -> None:
    """Write a file that was claimed. Raises ArgumentError when that has become impossible, as on a full disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise _unwritable(str(path), error) from error


def write_json(path: Path | None, value: Any) -> None:
    """Write what --json asks for to the file it names, nothing where it was not given. Raises as ``write_text``."""
    if path is not None:
        write_text(path, json.dumps(value, indent=2) + "\n")


def _clash(output: Path, other: Path) -> str:
    """Return in words what an output would do to another place, nothing when they are apart."""
    written, there = output.resolve(), other.resolve()
    if written == there:
        return "would write over"
    if written.is_relative_to(there):
        return "lies in"
    return "would replace the folder of" if there.is_relative_to(written) else ""


def _unwritable(what: str, error: OSError) -> ArgumentError:
    return ArgumentError(f"{what}: cannot be written ({error.strerror or error}); choose another place.")
