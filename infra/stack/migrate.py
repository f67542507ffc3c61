"""Numbered SQL files (``schemas/migrations/NNNN_name.sql``) applied to a ClickHouse database, each once."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.errors import MigrationError
from infra.stack.clickhouse import connect, database_of, first_line
from infra.stack.sql import quoted_name

_FILE_NAME = re.compile(r"(\d{4})_\w+\.sql")
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    number     UInt32,
    name       String,
    sha256     String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
"""


@dataclass(frozen=True)
class Migration:
    """One numbered SQL file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The hash of its text, kept in the ledger."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Return its statements; each ends with a semicolon at the end of a line, comments are whole lines."""
        lines = [line for line in self.sql.splitlines() if not line.lstrip().startswith("--")]
        pieces = re.split(r";[ \t]*(?:\n|$)", "\n".join(lines))
        return [piece.strip() for piece in pieces if piece.strip()]


def packaged_migrations() -> list[Migration]:
    """Return the product's migrations in order. Raises MigrationError when two files share a number."""
    found = []
    for file in resources.files("schemas").joinpath("migrations").iterdir():
        match = _FILE_NAME.fullmatch(file.name)
        if match:
            found.append(Migration(int(match.group(1)), file.name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    for first, second in pairwise(found):
        if first.number == second.number:
            raise MigrationError(f"Migrations {first.name} and {second.name} share a number; renumber one of them.")
    return found


def migrate(url: str) -> list[Migration]:
    """Create the address's database and apply what has not been applied; return what was applied now.

    Called at every start; a second call applies nothing. Raises StoreUnreachableError when no ClickHouse is there, and
    MigrationError when a file fails or is not the file that was applied under its number. A file that failed half-way
    is applied again whole at the next call, so its statements say IF NOT EXISTS.
    """
    database = database_of(url)
    client = connect(url, "default")
    try:
        client.command(f"CREATE DATABASE IF NOT EXISTS {quoted_name(database)}")
    except ClickHouseError as error:
        raise MigrationError(
            f"The database {database} cannot be created ({first_line(error)}); create it or grant the right to."
        ) from error
    finally:
        client.close()
    client = connect(url)
    try:
        ledger = applied(client)
        fresh = []
        for migration in packaged_migrations():
            known = ledger.get(migration.number)
            if known is None:
                _apply(client, migration)
                fresh.append(migration)
            elif known != migration.sha256:
                raise MigrationError(
                    f"Migration {migration.name} is not the file that was applied to {database} before: "
                    "put the change into a new, higher-numbered file, or start with an empty database."
                )
        return fresh
    finally:
        client.close()


def applied(client: Client) -> dict[int, str]:
    """Return number → hash of the applied migrations, empty before the first. Raises MigrationError."""
    try:
        if not client.command("EXISTS TABLE schema_migrations"):
            return {}
        rows = client.query("SELECT number, sha256 FROM schema_migrations FINAL").result_rows
    except ClickHouseError as error:
        raise MigrationError(f"The table schema_migrations cannot be read: {first_line(error)}.") from error
    return {int(number): str(sha256) for number, sha256 in rows}


def _apply(client: Client, migration: Migration) -> None:
    # The ledger first: an account that may not create tables learns it before anything is half done.
    for statement in [_LEDGER, *migration.statements()]:
        try:
            client.command(statement)
        except ClickHouseError as error:
            raise MigrationError(
                f"Migration {migration.name} failed at «{statement.strip().splitlines()[0]}»: {first_line(error)}."
            ) from error
    client.insert(
        "schema_migrations",
        [[migration.number, migration.name, migration.sha256]],
        column_names=["number", "name", "sha256"],
    )
