"""The canonical event log: Parquet files with one click per row, sorted by ``occurred_at``.

``import`` and ``generate`` write it; ``train``, ``assign``, ``replay`` and ``align`` read it, several files at a time
and in bounded memory, merged into one stream in event-time order.
"""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.errors import EmptyLogError, EventLogError
from encoders.event_columns import BATCH_COLUMNS, to_event_batch
from schemas.events import I64

__all__ = [
    "ARROW_SCHEMA",
    "BATCH_COLUMNS",
    "TIMESTAMP",
    "EventLogWriter",
    "count_rows",
    "read_batches",
    "to_event_batch",
]

TIMESTAMP = pa.timestamp("ms", tz="UTC")

#: Columns of the log, in order. Only the nullable ones may hold nulls.
ARROW_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("occurred_at", TIMESTAMP, nullable=False),
        pa.field("received_at", TIMESTAMP, nullable=False),
        pa.field("product_id", pa.string()),
        pa.field("category", pa.string()),
        pa.field("price_minor", pa.int64()),
        pa.field("currency", pa.string()),
        pa.field("quantity", pa.int32()),
        pa.field("query", pa.string()),
        pa.field("url_path", pa.string()),
        pa.field("referrer_kind", pa.string()),
        pa.field("device", pa.string()),
        pa.field("is_bot", pa.bool_(), nullable=False),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("properties", pa.map_(pa.string(), pa.string())),
    ]
)

_BEFORE_ALL_MS = int(np.iinfo(np.int64).min)

#: Rows of a row group: small enough that a reader of many files stays small, large enough to compress well.
ROW_GROUP_ROWS = 65_536


class EventLogWriter:
    """Writes one event log, or with another ``schema`` a log beside it; use it as a context manager.

    Rows go to a hidden file beside ``path`` that takes the name ``path`` only when the block ends well: on any error
    nothing half-written is left behind, and a log that was there before stays as it was.
    """

    def __init__(self, path: Path, schema: pa.Schema = ARROW_SCHEMA) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0
        self._part = path.with_name(f".{path.name}.part")
        self._last_ms = _BEFORE_ALL_MS

    def __enter__(self) -> "EventLogWriter":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(self._part, self.schema, compression="zstd")
        except OSError as error:
            raise _write_error(self.path, error) from error
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows. ``table`` has the schema's columns (any order) and goes on in event-time order.

        Raises EventLogError on a missing column, a value that does not fit its type, a row earlier than the one
        before it, or a full disk.
        """
        table = _conform(table, str(self.path), self.schema)
        if not table.num_rows:
            return
        times = _milliseconds(table.column("occurred_at"))
        self._last_ms = _check_sorted(times, self._last_ms, self.rows, str(self.path))
        try:
            self._parquet.write_table(table, row_group_size=ROW_GROUP_ROWS)
        except OSError as error:
            raise _write_error(self.path, error) from error
        self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._parquet.close()
            if error is None:
                self._part.replace(self.path)
        except OSError as failure:
            raise _write_error(self.path, failure) from failure
        finally:
            self._part.unlink(missing_ok=True)


def count_rows(paths: Sequence[Path]) -> int:
    """Return how many events the logs hold, from their footers alone. Raises as ``read_batches`` does."""
    return sum(_open(path, ARROW_SCHEMA).metadata.num_rows for path in paths)


def read_batches(
    paths: Sequence[Path], rows: int = 65_536, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Return the events of all logs as one stream of batches of ``rows`` rows (the last may be shorter).

    Ordered by (occurred_at, position in ``paths``, row), whatever ``rows`` is. At most about ``rows`` rows of every
    file are in memory. ``columns`` (default: all of ``ARROW_SCHEMA``) are returned in the order asked for.

    The files are opened and their columns checked before the first batch is asked for. Raises EventLogError when a
    file is absent, is no Parquet file, lacks a column or is not sorted; EmptyLogError when there is no event at all.
    """
    names = list(ARROW_SCHEMA.names if columns is None else columns)
    schema = pa.schema([ARROW_SCHEMA.field(name) for name in dict.fromkeys([*names, "occurred_at"])])
    files = [_open(path, schema) for path in paths]
    if not sum(file.metadata.num_rows for file in files):
        raise EmptyLogError(f"{', '.join(map(str, paths)) or 'event log'}: no events; import or generate some first.")
    sources = [_Source(file, path, schema, rows) for file, path in zip(files, paths, strict=True)]
    return _rebatch(_merge(sources), rows, names)


class _Source:
    """One file's unread rows: a buffered table, its times in milliseconds, and a cursor into it."""

    def __init__(self, file: pq.ParquetFile, path: Path, schema: pa.Schema, rows: int) -> None:
        self.path = path
        self.schema = schema
        self.table = schema.empty_table()
        self.times: I64 = np.empty(0, np.int64)
        self.cursor = 0
        self._seen = 0
        self._last_ms = _BEFORE_ALL_MS
        self._batches = file.iter_batches(batch_size=rows, columns=schema.names)

    def fill(self) -> bool:
        """Buffer the next rows when all are taken; return whether there are any."""
        while self.cursor == len(self.times):
            try:
                batch = next(self._batches, None)
            except (OSError, pa.ArrowException) as error:
                raise EventLogError(
                    f"{self.path}: damaged after row {self._seen:,} ({error}); make it anew."
                ) from error
            if batch is None:
                return False
            self.table = _conform(pa.Table.from_batches([batch]), str(self.path), self.schema)
            self.times = _milliseconds(self.table.column("occurred_at"))
            self._last_ms = _check_sorted(self.times, self._last_ms, self._seen, str(self.path))
            self._seen += len(self.times)
            self.cursor = 0
        return True

    def take(self, end: int) -> pa.Table:
        """Hand out the rows before position ``end``."""
        start, self.cursor = self.cursor, end
        return self.table.slice(start, end - start)


def _merge(sources: list[_Source]) -> Iterator[pa.Table]:
    """Yield tables in (time, source) order.

    The source whose buffer ends first, by (time of its last row, position), bounds what is complete: nothing unread
    anywhere can come before that row.
    """
    while True:
        live = [(position, source) for position, source in enumerate(sources) if source.fill()]
        if not live:
            return
        bound, bounding = min((int(source.times[-1]), position) for position, source in live)
        parts, times = [], []
        for position, source in live:
            start = source.cursor
            complete_ms = bound if position <= bounding else bound - 1
            end = max(start, int(np.searchsorted(source.times, complete_ms, side="right")))
            if end > start:
                times.append(source.times[start:end])
                parts.append(source.take(end))
        if len(parts) == 1:
            yield parts[0]
        else:
            yield pa.concat_tables(parts).take(np.argsort(np.concatenate(times), kind="stable"))


def _rebatch(tables: Iterator[pa.Table], rows: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Cut a stream of tables into batches of exactly ``rows`` rows and a rest."""
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        pending.append(table.select(names))
        count += table.num_rows
        if count >= rows:
            joined = pa.concat_tables(pending)
            whole = count - count % rows
            for start in range(0, whole, rows):
                yield _one_batch(joined.slice(start, rows))
            pending, count = [joined.slice(whole)], count - whole
    if count:
        yield _one_batch(pa.concat_tables(pending))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


def _open(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Open one log and check that it has the columns of ``schema``."""
    try:
        # Whatever is read ahead stays in memory until the file is closed, the whole log in the end.
        file = pq.ParquetFile(path, pre_buffer=False)
    except FileNotFoundError as error:
        raise EventLogError(f"{path}: there is no such file.") from error
    except (OSError, pa.ArrowException) as error:
        raise EventLogError(f"{path}: not a Parquet event log ({error}); make one with import or generate.") from error
    _check_columns(file.schema_arrow.names, schema, str(path))
    return file


def _check_columns(found: Sequence[str], schema: pa.Schema, where: str) -> None:
    missing = [name for name in schema.names if name not in found]
    if missing:
        raise EventLogError(
            f"{where}: not a canonical event log, missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            "make one with import or generate."
        )


def _conform(table: pa.Table, where: str, schema: pa.Schema) -> pa.Table:
    """Return the columns of ``schema`` with its types; raise EventLogError naming what does not fit."""
    _check_columns(table.column_names, schema, where)
    columns = []
    for field in schema:
        column = table.column(field.name)
        try:
            column = column if column.type == field.type else column.cast(field.type)
        except pa.ArrowException as error:
            raise EventLogError(
                f"{where}: column {field.name} should be {field.type}, found {column.type} ({error})."
            ) from error
        if not field.nullable and column.null_count:
            raise EventLogError(f"{where}: column {field.name} has {column.null_count:,} nulls; it needs a value.")
        columns.append(column)
    return pa.table(columns, schema=schema)


def _milliseconds(column: pa.ChunkedArray) -> I64:
    """Return a timestamp column as (n,) int64 milliseconds since the epoch."""
    times: npt.NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy()
    return times


def _check_sorted(times: I64, last_ms: int, seen: int, where: str) -> int:
    """Return the last time; raise EventLogError naming the row (counted from 1) that is earlier than its forerunner."""
    if not len(times):
        return last_ms
    falls = np.flatnonzero(times[1:] < times[:-1])
    if int(times[0]) < last_ms or len(falls):
        row = seen + 1 + (0 if int(times[0]) < last_ms else int(falls[0]) + 1)
        raise EventLogError(f"{where}: not sorted by occurred_at (row {row:,} is earlier than the one before it).")
    return int(times[-1])


def _write_error(path: Path, error: OSError) -> EventLogError:
    if error.errno == errno.ENOSPC:
        return EventLogError(f"{path}: the disk is full; free some space or choose another place.")
    return EventLogError(f"{path}: cannot be written ({error.strerror or error}).")
