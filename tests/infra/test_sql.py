"""Quoting for ClickHouse: whatever the text, it comes back as it was."""

import clickhouse_connect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.stack.sql import quoted_name, quoted_text
from infra.stack.store import EmbeddedStore

#: ClickHouse's SQL ends at a NUL.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)


@pytest.fixture(scope="module")
def client(embedded_store: EmbeddedStore) -> clickhouse_connect.driver.Client:
    return clickhouse_connect.get_client(dsn=embedded_store.url("default"), autogenerate_session_id=False)


@given(texts=st.lists(TEXT, min_size=1, max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_quoting(client: clickhouse_connect.driver.Client, texts: list[str]) -> None:
    sql = "SELECT " + ", ".join(quoted_text(text) for text in texts)
    reply = client.raw_query(sql, fmt="JSONCompactEachRow")
    columns = ", ".join(f"{{x{index}:String}} = {quoted_text(text)}" for index, text in enumerate(texts))
    same = client.query(f"SELECT {columns}", parameters={f"x{index}": text for index, text in enumerate(texts)})
    assert reply
    assert set(same.result_rows[0]) == {1}


@pytest.mark.parametrize("name", ["plain", "with space", "back`tick", "back\\slash", "é", "select"])
def test_any_name_survives_quoting(client: clickhouse_connect.driver.Client, name: str) -> None:
    assert client.query(f"SELECT 1 AS {quoted_name(name)}").column_names == (name,)
