"""Connections to a ClickHouse address, with one sentence when it cannot be had."""

from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.errors import StoreUnreachableError

DEFAULT_PORTS = {"http": 8123, "https": 8443}
PING_TIMEOUT_S = 10.0


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
        # clickhouse-connect waits five minutes for a program that is no HTTP server and buries every other reason.
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        urlopen(f"{parts.scheme}://{host}:{port}/ping", timeout=PING_TIMEOUT_S).close()
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=port,
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=database or database_of(url),
            secure=parts.scheme == "https",
            autogenerate_session_id=False,
        )
    except URLError as error:
        reason = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise _unreachable(where, reason or str(error.reason)) from error
    except (ClickHouseError, HTTPException, OSError, ValueError) as error:
        raise _unreachable(where, first_line(error) or type(error).__name__) from error


def _unreachable(where: str, reason: str) -> StoreUnreachableError:
    return StoreUnreachableError(
        f"No ClickHouse can be used at {where} ({reason}); start one with `simpersona up` "
        "or correct SIMPERSONA_CLICKHOUSE."
    )


def first_line(error: Exception) -> str:
    """Return what an error says, short enough for a sentence."""
    return str(error).split("\n", 1)[0][:200]
