"""Runs an import: raw log files to one canonical event log, in bounded memory, whole or not at all.

DuckDB reads the files, judges their rows and sorts the events, spilling to a scratch folder beside the output, which
is removed at the end.
"""

import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from encoders.adapters import staging
from encoders.adapters.adapter import Adapter
from encoders.adapters.conversions import literal
from encoders.adapters.raw_file import RawFile, inspect, rows_before_damage
from encoders.errors import EmptyLogError, RawLogError
from encoders.event_log import ROW_GROUP_ROWS, TIMESTAMP, EventLogWriter

#: What lists showed, beside the log: position counts from 1; event_id is the ``collection_viewed`` event's.
IMPRESSION_SCHEMA = pa.schema(
    [
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("client_id", pa.string(), nullable=False),
        pa.field("occurred_at", TIMESTAMP, nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
    ]
)

#: Called with what is being done and how far it is, in percent.
Progress = Callable[[str, float], None]

_POLL_S = 0.1
#: More threads need more memory each; reading is bound by the disk and the sort well before this.
_THREADS_MAX = 4
_DAY_IN_NAME = re.compile(r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. ``rows == accepted + collapsed + sum(rejected.values())``.

    rows         rows read (events of a line count one each)
    accepted     events written
    collapsed    rows that are part of another row's event (items of an order, products of a list)
    impressions  rows of the impressions file, among the collapsed or accepted ones
    rejected     reason -> rows
    """

    rows: int
    accepted: int
    collapsed: int
    impressions: int
    rejected: dict[str, int]
    merchants: int
    clients: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """Where an import goes: the log, the file of rejected rows if wanted, and the memory DuckDB may use."""

    out: Path
    rejects: Path | None = None
    memory_mb: int = 1024

    @property
    def impressions(self) -> Path:
        """The file of list impressions, written for formats that have them."""
        return self.out.parent / f"{self.out.stem}.impressions.parquet"


def import_log(
    adapter: Adapter,
    paths: Sequence[Path],
    target: ImportTarget,
    merchant: str | None = None,
    day: date | None = None,
    progress: Progress = lambda _what, _percent: None,
) -> ImportReport:
    """Import raw log files of one format into ``target``.

    ``merchant`` (default: the format's name) is given to rows that name none; ``day`` to logs without a date, whose
    files' names have none either. Raises RawLogError (a file absent, damaged or of another format; no day; disk full)
    or EmptyLogError (no usable row; rejected rows are still saved where asked for). Outputs appear only when complete.
    """
    files = [inspect(path, adapter) for path in paths]
    if len({path.resolve() for path in paths}) < len(paths):
        raise RawLogError("The same file is given twice; give each file once.")
    if target.out.resolve() in {path.resolve() for path in paths}:
        raise RawLogError(f"{target.out}: the event log would replace the raw log; give another --out.")
    days = [_day_ms(file.path, day) if adapter.needs_day else 0 for file in files]
    with _scratch(target) as connection:
        _set(connection, "merchant", merchant or adapter.name)
        connection.execute(staging.CREATE_STAGED)
        for number, (file, day_ms) in enumerate(zip(files, days, strict=True)):
            _set(connection, "file", number)
            _set(connection, "day_ms", day_ms)
            _stage(connection, adapter, file, progress)
        rejected = _rejected(connection, target.rejects)
        _execute(connection, staging.CREATE_GROUPED, "grouping", progress)
        connection.execute(staging.CREATE_EVENTS)
        parting = staging.CREATE_MOVED if adapter.parts_ties else staging.CREATE_UNMOVED
        _execute(connection, parting, "parting ties", progress)
        connection.execute(staging.CREATE_TIMED)
        return _write(connection, adapter, target, rejected, progress)


def _stage(connection: duckdb.DuckDBPyConnection, adapter: Adapter, file: RawFile, progress: Progress) -> None:
    connection.execute(staging.fields_view(file))
    try:
        _execute(connection, staging.stage(adapter, file.layout), f"reading {file.path.name}", progress)
    except duckdb.IOException as error:
        if not file.gzipped or "gzip" not in str(error).lower():
            raise
        lines, size = rows_before_damage(file.path)
        raise RawLogError(
            f"{file.path}: the gzip file is truncated or damaged after {lines:,} lines ({size:,} bytes unpacked); "
            "fetch it again. Nothing was written."
        ) from error
    connection.execute(staging.STAGE_REFUSED)
    connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")


def _rejected(connection: duckdb.DuckDBPyConnection, saved_to: Path | None) -> dict[str, int]:
    """Return the rejected rows by reason, most frequent first, and save them as JSON lines if wanted."""
    counts = connection.execute(
        "SELECT reason, count(*) FROM staged WHERE reason IS NOT NULL GROUP BY reason ORDER BY count(*) DESC, reason"
    ).fetchall()
    if saved_to is not None:
        try:
            saved_to.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(
                "COPY (SELECT file, row, reason, raw FROM staged WHERE reason IS NOT NULL ORDER BY file, row) "
                f"TO {literal(str(saved_to))} (FORMAT json)"
            )
        except (OSError, duckdb.IOException) as error:
            raise RawLogError(f"{saved_to}: the rejected rows cannot be written ({error}).") from error
    return dict(counts)


def _write(
    connection: duckdb.DuckDBPyConnection,
    adapter: Adapter,
    target: ImportTarget,
    rejected: dict[str, int],
    progress: Progress,
) -> ImportReport:
    """Write the log (and the impressions beside it) and count what is in it."""
    rows = _number(connection, "SELECT count(*) FROM staged")
    accepted, merchants, first_ms, last_ms = connection.execute(
        "SELECT count(*), count(DISTINCT merchant_id), min(occurred_ms), max(occurred_ms) FROM timed"
    ).fetchall()[0]
    if not accepted:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in rejected.items())
        raise EmptyLogError(
            f"No row of the log can be used ({reasons}); check --format."
            if rows
            else "The log is empty: a heading and no row; check that it was fetched whole."
        )
    impressions = 0
    with ExitStack() as outputs:
        log = outputs.enter_context(EventLogWriter(target.out))
        _copy(connection, staging.SELECT_EVENTS, log, accepted, progress)
        for layout in adapter.layouts:
            if layout.impressions is not None:
                _set(connection, "impressions", layout.impressions)
                side = outputs.enter_context(EventLogWriter(target.impressions, IMPRESSION_SCHEMA))
                _copy(connection, staging.SELECT_IMPRESSIONS, side, accepted, progress)
                impressions += side.rows
        clients = _number(connection, "SELECT count(*) FROM (SELECT DISTINCT merchant_id, client_id FROM events)")
    return ImportReport(
        rows=rows,
        accepted=accepted,
        collapsed=rows - accepted - sum(rejected.values()),
        impressions=impressions,
        rejected=rejected,
        merchants=merchants,
        clients=clients,
        first=datetime.fromtimestamp(first_ms / 1000, UTC),
        last=datetime.fromtimestamp(last_ms / 1000, UTC),
    )


def _copy(
    connection: duckdb.DuckDBPyConnection, query: str, writer: EventLogWriter, expected: int, progress: Progress
) -> None:
    """Write the rows of a query, whose column ``occurred_at`` comes as milliseconds, batch by batch."""
    reader = connection.sql(query).to_arrow_reader(ROW_GROUP_ROWS)
    for batch in reader:
        writer.write(pa.Table.from_batches([batch]))
        progress(f"writing {writer.path.name}", min(100.0, 100.0 * writer.rows / expected))


def _day_ms(path: Path, day: date | None) -> int:
    """Return midnight UTC of the log's day: the given one, else the one in the file's name."""
    if day is None:
        found = _DAY_IN_NAME.search(path.name)
        if found is None:
            raise RawLogError(f"{path}: the log names no day; give --day YYYY-MM-DD or put the day in the file's name.")
        try:
            day = date(*map(int, found.groups()))
        except ValueError as error:
            raise RawLogError(f"{path}: its name holds no valid day ({error}); give --day YYYY-MM-DD.") from error
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _set(connection: duckdb.DuckDBPyConnection, name: str, value: str | int) -> None:
    connection.execute(f"SET VARIABLE {name} = {value if isinstance(value, int) else literal(value)}")


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


@contextmanager
def _scratch(target: ImportTarget) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB on a scratch folder beside the output; turn its complaints about space into one sentence."""
    try:
        target.out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{target.out.name}.", dir=target.out.parent)
    except OSError as error:
        raise RawLogError(f"{target.out}: cannot be written ({error.strerror}).") from error
    with folder as name:
        connection = duckdb.connect(str(Path(name) / "import.duckdb"))
        try:
            threads = min(_THREADS_MAX, _number(connection, "SELECT current_setting('threads')"))
            connection.execute(
                "SET enable_progress_bar = true; SET enable_progress_bar_print = false;"
                f"SET TimeZone = 'UTC'; SET threads = {threads};"
                f"SET memory_limit = '{target.memory_mb}MB'; SET temp_directory = {literal(name + '/spill')};"
                "SET autoinstall_known_extensions = false; SET autoload_known_extensions = false"
            )
            yield connection
        except duckdb.Error as error:
            if re.search(r"no space left|max_temp_directory_size", str(error), re.IGNORECASE):
                raise RawLogError(
                    f"{target.out}: the disk is full; free some space or choose another place. Nothing was written."
                ) from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise RawLogError(
                    f"{target.memory_mb} MB of memory are too few for this log; give more with --memory-mb."
                ) from error
            raise
        except RuntimeError as error:
            if "interrupt" in str(error).lower():  # DuckDB's way of saying Ctrl-C
                raise KeyboardInterrupt from error
            raise
        finally:
            connection.close()


def _execute(connection: duckdb.DuckDBPyConnection, query: str, what: str, progress: Progress) -> None:
    """Run a long statement, reporting DuckDB's own estimate of how far it is."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            progress(what, max(0.0, connection.query_progress()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        connection.execute(query)
    finally:
        done.set()
        watcher.join()
    progress(what, 100.0)
