"""The embedded store as a process."""

from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.errors import ServiceFailedError
from infra.stack.clickhouse import connect
from infra.stack.store import EmbeddedStore

MEMORY_MB = 1024


def test_tables_are_kept_the_folder_is_held_by_one_and_memory_is_bounded(tmp_path: Path) -> None:
    first = EmbeddedStore.start(tmp_path / "data", tmp_path / "log", MEMORY_MB)
    try:
        first.wait_ready()
        with connect(first.url("default")) as client:
            client.command("CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a")
            client.command("INSERT INTO t VALUES (1)")
        second = EmbeddedStore.start(tmp_path / "data", tmp_path / "second.log", MEMORY_MB)
        with pytest.raises(ServiceFailedError, match=r"The store cannot open its folder .* end the other run"):
            second.wait_ready()
    finally:
        first.stop()
    assert first.child.exit_code() == 0
    assert not (tmp_path / "data" / "status").exists()
    third = EmbeddedStore.start(tmp_path / "data", tmp_path / "log", MEMORY_MB)
    try:
        third.wait_ready()
        with connect(third.url("default")) as client:
            assert client.command("SELECT a FROM t") == 1
            with pytest.raises(DatabaseError, match="MEMORY_LIMIT_EXCEEDED"):
                client.query("SELECT groupArray(number) FROM numbers(200000000)")
            assert client.command("SELECT a FROM t") == 1
    finally:
        third.stop()
