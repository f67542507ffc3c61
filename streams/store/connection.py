"""One ClickHouse connection with patience: what a worker does while the store is away or busy."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from streams.errors import RetryLater, StoreError

T = TypeVar("T")

#: ClickHouse error codes that go away by themselves: timeouts, too many queries, network, memory, too many parts,
#: read-only for now, lost ZooKeeper session. https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
TRANSIENT_CODES = frozenset({159, 160, 164, 202, 209, 210, 225, 241, 242, 252, 319, 999})
#: First pause between attempts; it doubles up to the longest.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Store:
    """Connections to ClickHouse, one a thread, made on first use and again after a failure.

    ``url`` is ``http(s)://user:password@host:port/database``. Each call is repeated with growing pauses for
    ``patience_s``, short because other work waits for the same thread; then RetryLater is raised and the same call may
    be made again. Inserts must therefore be idempotent by key: an attempt whose answer was lost may have been carried
    out. ``pause`` waits for some seconds (an argument, so that tests need not wait).
    """

    def __init__(self, url: str, patience_s: float = 2.0, pause: Callable[[float], object] | None = None) -> None:
        self._url = url
        self._patience_s = patience_s
        self._pause = pause if pause is not None else threading.Event().wait
        self._of_thread = threading.local()
        self._open: set[Client] = set()

    @property
    def address(self) -> str:
        """Host, port and database, without the password."""
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port}{parts.path}"

    def select(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        """Return a query's rows; ``%(name)s`` in ``sql`` are bound parameters. Raises RetryLater or StoreError."""
        return self._patiently(lambda client: client.query_arrow(sql, parameters=parameters, use_strings=True))

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows into the columns they name. Raises RetryLater or StoreError."""
        self._patiently(lambda client: client.insert_arrow(table, rows))

    def command(self, sql: str, parameters: dict[str, Any] | None = None) -> Any:
        """Run a statement, for instance INSERT … SELECT; return its answer. Raises RetryLater or StoreError."""
        return self._patiently(lambda client: client.command(sql, parameters=parameters))

    def close(self) -> None:
        """Close the connections of all threads; a later call opens another."""
        while self._open:
            self._open.pop().close()
        self._of_thread = threading.local()

    def _connection(self) -> Client:
        client: Client | None = getattr(self._of_thread, "client", None)
        if client is None:
            # A session would forbid two requests at once, and nothing here needs one.
            # Rows come in small inserts over a local network: compressing them costs more than sending them.
            client = clickhouse_connect.get_client(dsn=self._url, autogenerate_session_id=False, compress=False)
            self._of_thread.client = client
            self._open.add(client)
        return client

    def _disconnect(self) -> None:
        client: Client | None = getattr(self._of_thread, "client", None)
        if client is not None:
            self._of_thread.client = None
            self._open.discard(client)
            client.close()

    def _patiently(self, call: Callable[[Client], T]) -> T:
        pause_s, waited_s = FIRST_PAUSE_S, 0.0
        while True:
            try:
                return call(self._connection())
            except ClickHouseError as error:
                if not _is_transient(error):
                    raise StoreError(self._sentence(error)) from error
                self._disconnect()
                if waited_s >= self._patience_s:
                    raise RetryLater(
                        f"ClickHouse at {self.address} does not answer ({_first_line(error)}); start it or correct "
                        "SIMPERSONA_CLICKHOUSE.",
                        retry_after_s=pause_s,
                    ) from error
                self._pause(pause_s)
                waited_s += pause_s
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _sentence(self, error: ClickHouseError) -> str:
        code = getattr(error, "code", None)
        if code in (60, 81):
            return f"ClickHouse at {self.address} lacks the product's tables; run `simpersona migrate`."
        if code in (192, 193, 194, 516):
            return f"ClickHouse at {self.address} refuses the user or password; correct SIMPERSONA_CLICKHOUSE."
        return f"ClickHouse at {self.address} refused a request: {_first_line(error)}"


def _is_transient(error: ClickHouseError) -> bool:
    code = getattr(error, "code", None)
    return code in TRANSIENT_CODES or (code is None and isinstance(error, OperationalError))


def _first_line(error: Exception) -> str:
    """Return what went wrong: the system's own word where a connection failed, else the first line of the answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
