"""One raw log file before it is read: is it there, is it packed, and which of a format's layouts has it."""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from encoders.adapters.adapter import Adapter, Layout
from encoders.errors import EmptyLogError, RawLogError

_GZIP = b"\x1f\x8b"
#: First bytes of what people hand over by mistake.
_OTHER_CONTENTS = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"PAR1": "a Parquet file, not a raw log",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it or pack it with gzip",
    b"BZh": "packed with bzip2; unpack it or pack it with gzip",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
}
#: No first line is longer than this; OTTO's lines, the longest, have some tens of kilobytes.
_FIRST_LINE_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file that looks like its format: ``fields`` are its columns' normal names in order (none for JSON lines)."""

    path: Path
    layout: Layout
    fields: tuple[str, ...]
    gzipped: bool


def inspect(path: Path, adapter: Adapter) -> RawFile:
    """Look at a file's first line. Raises RawLogError (absent, packed otherwise, another format) or EmptyLogError."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RawLogError(f"{path}: a pipe, and a log is read more than once; write it to a file first.")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise RawLogError(f"{path}: cannot be read ({error.strerror}).") from error
    for magic, what in _OTHER_CONTENTS.items():
        if head.startswith(magic):
            raise RawLogError(f"{path}: this is {what}.")
    gzipped = head.startswith(_GZIP)
    line = _first_line(path, gzipped)
    if not line:
        raise EmptyLogError(f"{path}: the log is empty.")
    found: Sequence[str] = []
    for layout in adapter.layouts:
        found = _fields(line, layout)
        if layout.delimiter and not layout.header and len(found) == len(layout.columns):
            return RawFile(path, layout, layout.columns, gzipped)
        if layout.delimiter and layout.header and {normal(name) for name in layout.columns} <= set(map(normal, found)):
            return RawFile(path, layout, _distinct(path, found, layout), gzipped)
        if not layout.delimiter and any(name in found for name in layout.columns):
            return RawFile(path, layout, (), gzipped)
    raise RawLogError(_mismatch(path, adapter, found))


def normal(name: str) -> str:
    """A column's name as ``Layout.values`` writes it: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def rows_before_damage(path: Path) -> tuple[int, int]:
    """Return (whole lines, bytes unpacked) that can be read from a damaged gzip file before it breaks."""
    lines = size = 0
    try:
        with gzip.open(path) as file:
            while block := file.read1(_BLOCK_BYTES):
                lines += block.count(b"\n")
                size += len(block)
    except (EOFError, OSError, zlib.error):
        pass  # The damage that is being measured.
    return lines, size


def _first_line(path: Path, gzipped: bool) -> str:
    """Return the first line that is not blank, "" when there is none."""
    try:
        with gzip.open(path) if gzipped else path.open("rb") as file:
            while line := file.readline(_FIRST_LINE_BYTES):
                if text := line.decode("utf-8-sig", errors="replace").strip():
                    return text
    except (EOFError, OSError, zlib.error) as error:
        raise RawLogError(f"{path}: the gzip file is damaged in its first line; fetch it again.") from error
    return ""


def _fields(line: str, layout: Layout) -> Sequence[str]:
    """Return the fields of a delimited line, or the keys of a JSON object (none when it is no object)."""
    if layout.delimiter:
        return next(csv.reader([line], delimiter=layout.delimiter))
    try:
        value = json.loads(line)
    except ValueError:
        return []
    return list(value) if isinstance(value, dict) else []


def _distinct(path: Path, found: Sequence[str], layout: Layout) -> tuple[str, ...]:
    """Return the header's names in normal form. Raises RawLogError when one that is needed is there twice."""
    names = tuple(map(normal, found))
    twice = [name for name in layout.columns if names.count(normal(name)) > 1]
    if twice:
        raise RawLogError(f"{path}: the header names the column {twice[0]} twice; rename one of them.")
    return names


def _shown(found: Sequence[str]) -> str:
    """Return what stands where names are expected; what a terminal cannot show is escaped, for it may be anything."""
    shown = ", ".join(found[:20])
    return shown[:200] if shown.isprintable() and "\ufffd" not in shown else ascii(shown)[:60]


def _mismatch(path: Path, adapter: Adapter, found: Sequence[str]) -> str:
    """Say what the layout nearest to the file has that the file has not."""
    present = set(map(normal, found))
    nearest = max(adapter.layouts, key=lambda layout: len(present & {normal(name) for name in layout.columns}))
    shown = _shown(found) or "no such columns"
    article = "an" if adapter.name[0] in "aeiou" else "a"
    if not nearest.delimiter:
        wanted = " or ".join(nearest.columns)
        return f"{path}: not {article} {adapter.name} log: expected JSON lines with the key {wanted}, found {shown}."
    if not nearest.header:
        kinds = " or ".join(f"{len(layout.columns)} ({', '.join(layout.columns)})" for layout in adapter.layouts)
        return (
            f"{path}: not {article} {adapter.name} log: expected {kinds} columns between '{nearest.delimiter}' and no "
            f"header, found {len(found)} ({shown})."
        )
    missing = [name for name in nearest.columns if normal(name) not in present]
    return (
        f"{path}: not {article} {adapter.name} log: expected the columns {', '.join(nearest.columns)} between "
        f"'{nearest.delimiter}', found {shown}; missing: {', '.join(missing)}."
    )
