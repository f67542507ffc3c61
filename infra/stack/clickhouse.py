"""Connections to a ClickHouse address, with one sentence when it cannot be had."""

import socket
from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.errors import StoreUnreachableError

DEFAULT_PORTS = {"http": 8123, "https": 8443}
CONNECT_TIMEOUT_S = 5.0


def database_of(url: str) -> str:
    """Return the database that an address names. Raises StoreUnreachableError when it names none."""
    database = unquote(urlsplit(url).path).strip("/")
    if not database:
        raise StoreUnreachableError(
            f"SIMPERSONA_CLICKHOUSE is {url!r} and names no database; write http://user@host:8123/simpersona."
        )
    return database


def connect(url: str, database: str = "") -> Client:
    """Return a client of the address for its own database, or for another one ("default" always exists).

    Raises StoreUnreachableError when nothing answers there, it refuses us, or the address is not an address.
    """
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2] or url
    try:
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("not an http:// or https:// address")
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        # clickhouse-connect buries the reason of a refused connection; the socket says it in two words.
        socket.create_connection((parts.hostname, port), CONNECT_TIMEOUT_S).close()
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=port,
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=database or database_of(url),
            secure=parts.scheme == "https",
            autogenerate_session_id=False,
        )
    except OSError as error:
        raise _unreachable(where, error.strerror or str(error)) from error
    except (ClickHouseError, ValueError) as error:
        raise _unreachable(where, first_line(error)) from error


def _unreachable(where: str, reason: str) -> StoreUnreachableError:
    return StoreUnreachableError(
        f"No ClickHouse can be used at {where} ({reason}): start one with `simpersona up` "
        "or correct SIMPERSONA_CLICKHOUSE."
    )


def first_line(error: Exception) -> str:
    """Return what an error says, short enough for a sentence."""
    return str(error).split("\n", 1)[0][:200]
