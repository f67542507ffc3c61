"""Migrations: each file once, in order, and clear words when something is not as it should be."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from clickhouse_connect.driver.client import Client

from infra.errors import MigrationError, StoreUnreachableError
from infra.stack.clickhouse import connect, database_of
from infra.stack.migrate import Migration, applied, migrate, packaged_migrations
from infra.stack.ports import free_port

#: The migration that gives ``rejected_events`` another key.
REMAKES_A_TABLE = 8


@pytest.fixture
def client(clickhouse: str) -> Iterator[Client]:
    with connect(clickhouse) as client:
        yield client


@pytest.mark.fast
def test_the_packaged_files_are_numbered_without_gaps() -> None:
    assert [migration.number for migration in packaged_migrations()] == list(range(1, len(packaged_migrations()) + 1))


@pytest.mark.fast
def test_comments_and_semicolons_at_line_ends_divide_a_file_into_statements() -> None:
    sql = "-- why; because\nCREATE TABLE a (x String DEFAULT ';')\nENGINE = Memory;\n\n  -- more\nSELECT 1 ;\n"
    assert Migration(1, "0001_a.sql", sql).statements() == [
        "CREATE TABLE a (x String DEFAULT ';')\nENGINE = Memory",
        "SELECT 1",
    ]


@pytest.mark.fast
def test_every_statement_may_be_run_twice() -> None:
    files = [migration for migration in packaged_migrations() if migration.number != REMAKES_A_TABLE]
    statements = [text for migration in files for text in migration.statements()]
    assert [text for text in statements if "IF NOT EXISTS" not in text] == []


def test_a_table_that_is_made_anew_keeps_its_rows_wherever_it_was_cut_off(clickhouse: str, client: Client) -> None:
    packaged = {migration.number: migration for migration in packaged_migrations()}
    [old] = [text for text in packaged[4].statements() if "rejected_events" in text]
    for done in range(1 + len(packaged[REMAKES_A_TABLE].statements())):
        client.command("DROP TABLE rejected_events SYNC")
        client.command(old)
        for number in range(3):
            client.command(f"INSERT INTO rejected_events (topic, offset, payload) VALUES ('t', {number}, '{number}')")
        client.command(f"DELETE FROM schema_migrations WHERE number = {REMAKES_A_TABLE}")
        for statement in packaged[REMAKES_A_TABLE].statements()[:done]:
            client.command(statement)
        assert [migration.number for migration in migrate(clickhouse)] == [REMAKES_A_TABLE]
        client.command("INSERT INTO rejected_events (topic, offset, received_at, payload) VALUES ('t', 0, 1, 'again')")
        rows = client.query("SELECT payload FROM rejected_events FINAL ORDER BY offset, received_at").result_rows
        assert [row[0] for row in rows] == ["0", "again", "1", "2"]
        assert client.command("SELECT count() FROM system.tables WHERE name LIKE 'rejected_events_by%'") == 0


def test_every_file_is_in_the_ledger_and_a_second_run_applies_nothing(clickhouse: str, client: Client) -> None:
    packaged = packaged_migrations()
    assert applied(client) == {migration.number: migration.sha256 for migration in packaged}
    assert migrate(clickhouse) == []


def test_an_untouched_database_has_an_empty_ledger_and_gets_none_by_being_looked_at(
    clickhouse: str, client: Client
) -> None:
    client.command("DROP TABLE schema_migrations")
    assert applied(client) == {}
    assert client.command("EXISTS TABLE schema_migrations") == 0


def test_a_run_that_was_cut_off_is_finished_by_the_next(clickhouse: str, client: Client) -> None:
    client.command("DROP VIEW round_trip")
    client.command("DELETE FROM schema_migrations WHERE number = 6")
    assert [migration.number for migration in migrate(clickhouse)] == [6]
    assert client.command("EXISTS TABLE round_trip") == 1


def test_a_file_that_was_changed_after_it_was_applied_is_refused(clickhouse: str, client: Client) -> None:
    client.insert("schema_migrations", [[2, "0002_distributions.sql", "0"]], column_names=["number", "name", "sha256"])
    with pytest.raises(MigrationError, match=r"Migration 0002_distributions.sql is not the file that was applied"):
        migrate(clickhouse)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://default@127.0.0.1:PORT/simpersona", "Connection refused"),
        ("http://nowhere.invalid/simpersona", r"Name or service not known|Temporary failure in name resolution"),
        ("clickhouse://127.0.0.1/simpersona", "not an http:// or https:// address"),
        ("127.0.0.1:8123/simpersona", "not an http:// or https:// address"),
        ("http://127.0.0.1:123456/simpersona", "Port out of range"),
    ],
)
def test_a_store_that_is_not_there_is_one_clear_sentence(address: str, reason: str) -> None:
    with pytest.raises(StoreUnreachableError, match=rf"No ClickHouse can be used at .* \(.*({reason}).*\); start one"):
        migrate(address.replace("PORT", str(free_port())))


@pytest.mark.fast
def test_an_address_without_a_database_is_one_clear_sentence() -> None:
    with pytest.raises(StoreUnreachableError, match="names no database"):
        database_of("http://127.0.0.1:8123")


def test_a_broker_mistaken_for_a_store_is_one_clear_sentence(kafka: str) -> None:
    with pytest.raises(StoreUnreachableError, match="No ClickHouse can be used at"):
        migrate(f"http://default@{kafka}/simpersona")


def test_the_error_of_an_unknown_database_is_clickhouses_own(clickhouse: str) -> None:
    unknown = urlsplit(clickhouse)._replace(path="/nowhere").geturl()
    with pytest.raises(StoreUnreachableError, match="nowhere"):
        connect(unknown)
