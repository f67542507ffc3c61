"""The settings table in the docs lists every setting with its default and what it does."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.settings import Settings

pytestmark = pytest.mark.fast
TABLE = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_as_it_is(name: str) -> None:
    field = Settings.model_fields[name]
    shown = "" if field.default in (None, "") else f"`{field.default}`"
    row = f"| `SIMPERSONA_{name.upper()}` | {shown} | {field.description} |"
    assert row in TABLE.read_text().splitlines()


def test_the_table_lists_nothing_else() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| `SIMPERSONA_")]
    assert len(rows) == len(Settings.model_fields)


def test_a_setting_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMPERSONA_GAP_MS", "60000")
    assert Settings().gap_ms == 60_000


@pytest.mark.parametrize("name", ["clickhouse", "schema_registry", "endpoint"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:8123", "http://host:81x3/db", "http://host:99999", "http://", "ftp://host"]
)
def test_what_is_no_address_is_refused(name: str, address: str) -> None:
    with pytest.raises(ValidationError, match="write an address like http://host:port"):
        Settings(**{name: address})


def test_only_what_may_be_left_out_may_be_empty() -> None:
    assert Settings(schema_registry="", endpoint="", clickhouse="https://u:p%40@h/db").endpoint == ""
    with pytest.raises(ValidationError, match="write an address"):
        Settings(clickhouse="")
    with pytest.raises(ValidationError, match="at least 1 character"):
        Settings(kafka="")
