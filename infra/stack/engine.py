"""ClickHouse's engine in this process (chDB): one call runs one statement, as one HTTP request would.

Every call opens its own handle (0.2 ms), so that database and settings of one request never reach another and calls
run side by side.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import chdb
from chdb.state.sqlitelike import Connection

from infra.errors import FolderUnusableError
from infra.stack.sql import quoted_name, quoted_text

DEFAULT_FORMAT = "TabSeparated"
#: A quoted name or text, or one character outside quotes.
_QUOTED_OR_CHARACTER = rb"""(?:`[^`]*`|"[^"]*"|'[^']*'|.)"""
#: ``INSERT INTO … FORMAT Name`` with the data behind it; a SELECT or VALUES before FORMAT is another statement.
_INSERT_WITH_DATA = re.compile(
    rb"\s*(?P<head>INSERT\s+INTO\s+(?:(?!\b(?:SELECT|VALUES|WITH|SETTINGS)\b)" + _QUOTED_OR_CHARACTER + rb")*?)"
    rb"(?P<settings>\bSETTINGS\b(?:" + _QUOTED_OR_CHARACTER + rb")*?)?"
    rb"\bFORMAT\s+(?P<format>\w+)[ \t]*;?[ \t]*\r?\n?",
    re.IGNORECASE | re.DOTALL,
)
_GIVES_ROWS = re.compile(rb"[\s(]*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK)\b", re.IGNORECASE)
_OWN_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_ERROR_CODE = re.compile(r"Code: (\d+)\.")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: ClickHouse's own numbers (src/Common/ErrorCodes.cpp).
UNKNOWN_EXCEPTION_CODE = 1002
UNKNOWN_SETTING_CODE = 115


class EngineError(Exception):
    """ClickHouse refused a statement: its number and its words, to be passed on to the client as they are."""

    def __init__(self, code: int, message: str) -> None:
        """Keep ClickHouse's error number and message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Statement:
    """One request: SQL (with the data of an INSERT behind it), database, settings and bound parameters."""

    text: bytes
    database: str = ""
    settings: Mapping[str, str] | None = None
    parameters: Mapping[str, str] | None = None
    default_format: str = DEFAULT_FORMAT


@dataclass(frozen=True)
class Outcome:
    """What a statement gave: the bytes in `format` (empty when it gives no rows) and how much it read and wrote."""

    body: bytes
    format: str
    read_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Engine:
    """The engine over one data folder. Only one process can hold a folder, and a process only one folder."""

    def __init__(self, folder: Path, memory_mb: int) -> None:
        """Open the folder and keep it. Raises FolderUnusableError when another process holds it or the disk is full."""
        self._target = f"{folder.resolve()}?max_server_memory_usage={memory_mb << 20}"
        try:
            # Held for as long as the engine is wanted: closing the last handle would close the engine.
            self._keeper = chdb.connect(self._target)
            self._keeper.query("SELECT 1")
        except RuntimeError as error:
            raise FolderUnusableError(
                f"The store cannot open its folder {folder} ({error}): end the other run that uses it, "
                "make room on the disk, or choose another --data-dir."
            ) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._keeper.close()

    def run(self, statement: Statement) -> Outcome:
        """Run one statement. Called from several threads at once. Raises EngineError with ClickHouse's own number."""
        handle = chdb.connect(self._target)
        try:
            if statement.database:
                handle.query(f"USE {quoted_name(statement.database)}")
            # `readonly` forbids every later SET, so it comes last.
            for name, value in sorted((statement.settings or {}).items(), key=lambda item: item[0] == "readonly"):
                if not _PLAIN_NAME.fullmatch(name):
                    raise EngineError(UNKNOWN_SETTING_CODE, f"Code: {UNKNOWN_SETTING_CODE}. Not a setting: {name!r}.")
                handle.query(f"SET {name} = {quoted_text(value)}")
            insert = _INSERT_WITH_DATA.match(statement.text)
            if insert is not None:
                return self._insert(handle, insert, statement.text[insert.end() :])
            return self._query(handle, statement)
        except RuntimeError as error:
            message = str(error)
            found = _ERROR_CODE.search(message)
            code = int(found.group(1)) if found else UNKNOWN_EXCEPTION_CODE
            raise EngineError(code, message[found.start() :] if found else message) from error
        finally:
            handle.close()

    @staticmethod
    def _insert(handle: Connection, insert: re.Match[bytes], data: bytes) -> Outcome:
        # Not chDB's own send_insert: it reports success for rows that a full disk has swallowed (chdb 4.4).
        with _as_file(data) as path:
            head, settings = insert["head"], insert["settings"] or b""
            sql = b"%s FROM INFILE %s %s FORMAT %s" % (head, quoted_text(path).encode(), settings, insert["format"])
            done = handle.query(sql, DEFAULT_FORMAT)
        return Outcome(b"", "", written_rows=done.rows_read(), written_bytes=done.bytes_read())

    @staticmethod
    def _query(handle: Connection, statement: Statement) -> Outcome:
        result = handle.query(statement.text, statement.default_format, params=dict(statement.parameters or {}))
        own_format = _OWN_FORMAT.search(statement.text)
        shown = own_format.group(1).decode() if own_format else statement.default_format
        return Outcome(
            body=result.bytes() or b"",
            format=shown if _GIVES_ROWS.match(statement.text) else "",
            read_rows=result.rows_read(),
        )


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Lay the data where the engine can read it by path: in memory on Linux, in a temporary file elsewhere."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("insert"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
