"""The embedded store answers HTTP as a ClickHouse server does: clickhouse-connect and plain requests."""

import datetime as dt
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import httpx
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.stack.clickhouse import connect

TABLE = (
    "CREATE TABLE t (a Int64, s LowCardinality(String), at DateTime64(3, 'UTC')) ENGINE = ReplacingMergeTree ORDER BY a"
)
ROWS = 100_000


@pytest.fixture
def client(clickhouse: str) -> Iterator[Client]:
    with connect(clickhouse) as client:
        client.command(TABLE)
        yield client


@pytest.fixture
def http(clickhouse: str) -> Iterator[httpx.Client]:
    parts = urlsplit(clickhouse)
    base = f"http://{parts.hostname}:{parts.port}"
    with httpx.Client(base_url=base, params={"database": parts.path.strip("/")}) as client:
        client.post("/", content=TABLE)
        yield client


def table(rows: int = ROWS) -> pa.Table:
    return pa.table(
        {
            "a": pa.array(range(rows)),
            "s": pa.array(["tab\there 'quoted' \\ é\n"] * rows),
            "at": pa.array(range(rows), pa.timestamp("ms", "UTC")),
        }
    )


def test_an_arrow_insert_is_read_back_as_it_was(client: Client) -> None:
    assert client.insert_arrow("t", table()).written_rows == ROWS
    back = client.query_arrow("SELECT * FROM t ORDER BY a", use_strings=True)
    assert back.column("a").to_pylist() == list(range(ROWS))
    assert back.column("s").unique().to_pylist() == ["tab\there 'quoted' \\ é\n"]
    assert back.column("at").cast(pa.int64()).to_pylist() == list(range(ROWS))


def test_a_native_insert_of_rows_and_of_columns_counts_what_it_wrote(client: Client) -> None:
    now = dt.datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=dt.UTC)
    assert client.insert("t", [[1, "x", now], [2, "y", now]], column_names=["a", "s", "at"]).written_rows == 2
    columns = [[3, 4, 5], ["x", "y", "z"], [0, 1, 2]]
    summary = client.insert("t", columns, column_names=["a", "s", "at"], column_oriented=True)
    assert summary.written_rows == 3
    assert client.query("SELECT a, s FROM t ORDER BY a").result_rows == [
        (1, "x"), (2, "y"), (3, "x"), (4, "y"), (5, "z"),
    ]  # fmt: skip
    assert client.query("SELECT at FROM t WHERE a = 1", column_formats={"at": "int"}).result_rows == [
        (int(now.timestamp() * 1000),)
    ]


def test_final_gives_one_row_a_key(client: Client) -> None:
    for _ in range(2):
        client.insert("t", [[1, "x", 0]], column_names=["a", "s", "at"])
    assert client.command("SELECT count() FROM t") == 2
    assert client.command("SELECT count() FROM t FINAL") == 1


@pytest.mark.parametrize("text", ["plain", "with 'quotes' \\ and\ttabs\nand lines", "é", ""])
def test_bound_parameters_arrive_as_they_are(client: Client, text: str) -> None:
    assert client.query("SELECT {x:String}", parameters={"x": text}).result_rows == [(text,)]


def test_long_parameters_arrive_by_way_of_a_form(client: Client) -> None:
    texts = [f"{index:05d}" for index in range(20_000)]
    result = client.query("SELECT length({x:Array(String)}), {x:Array(String)}[20000]", parameters={"x": texts})
    assert result.result_rows == [(20_000, "19999")]


def test_an_error_carries_clickhouses_own_number_and_name(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE") as raised:
        client.query("SELECT * FROM nowhere")
    assert (raised.value.code, raised.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError) as raised:
        client.raw_insert("t", insert_block=b"rubbish", fmt="Native")
    assert raised.value.code is not None
    assert client.command("SELECT count() FROM t") == 0


def test_an_insert_that_the_disk_has_no_room_for_is_an_error_and_never_a_success(client: Client) -> None:
    wanted = 1 << 60
    client.command(f"ALTER TABLE t MODIFY SETTING min_free_disk_bytes_to_perform_insert = {wanted}")
    with pytest.raises(DatabaseError) as raised:
        client.insert_arrow("t", table(10))
    assert raised.value.name == "NOT_ENOUGH_SPACE"
    assert client.command("SELECT count() FROM t") == 0


def test_settings_and_database_of_one_request_do_not_reach_the_next(client: Client) -> None:
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 1}) == 1
    assert client.command("SELECT value = '1' FROM system.settings WHERE name = 'max_threads'") == 0
    client.command("USE system")
    assert client.command("SELECT currentDatabase()") == client.database


def test_a_statement_without_rows_and_an_empty_result_are_told_apart(client: Client) -> None:
    assert client.command("SELECT a FROM t") == ""
    assert client.command("TRUNCATE TABLE t") != ""


def test_names_of_columns_without_rows_are_known(client: Client) -> None:
    assert client.query("SELECT * FROM t LIMIT 0").column_names == ("a", "s", "at")
    assert client.query("SELECT * FROM t").result_rows == []


def test_large_results_stream_in_blocks(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(len(block) for block in blocks) == 300_000


def test_several_clients_write_and_read_at_once(client: Client, clickhouse: str) -> None:
    def write(worker: int) -> None:
        with connect(clickhouse) as own:
            for batch in range(5):
                first = (worker * 5 + batch) * 100
                columns = [list(range(first, first + 100)), ["x"] * 100, [0] * 100]
                own.insert("t", columns, column_names=["a", "s", "at"], column_oriented=True)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.query("SELECT count(), uniqExact(a) FROM t FINAL").result_rows == [(4_000, 4_000)]


def test_times_are_utc_whatever_the_machine_says(client: Client) -> None:
    assert client.command("SELECT timezone()") == "UTC"
    assert str(client.server_tz) == "UTC"


def test_ping_answers_and_an_empty_request_is_greeted(http: httpx.Client) -> None:
    assert http.get("/ping").text == "Ok.\n"
    assert http.get("/", params={"database": ""}).text == "Ok.\n"


def test_a_query_may_lie_in_the_address_and_its_data_in_the_body(http: httpx.Client) -> None:
    http.post("/", params={"query": "INSERT INTO t FORMAT CSV"}, content='1,"x",2026-01-01\n2,"y",2026-01-02\n')
    assert http.get("/", params={"query": "SELECT s FROM t ORDER BY a"}).text == "x\ny\n"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t FORMAT CSV\n1,x,2026-01-01\n",
        "insert into t (a, s, at) format TSV 1\tx\t2026-01-01\n",
        "INSERT INTO t SETTINGS async_insert = 0 FORMAT JSONEachRow\n{\"a\": 1, \"s\": \"x\", \"at\": 0}",
        "INSERT INTO t VALUES (1, 'x FORMAT Native', 0)",
        "INSERT INTO t (a, s) SELECT 1, 'FORMAT Native'",
        "INSERT INTO `t` (`a`, `s`) FORMAT Values (1, 'x')",
    ],
)  # fmt: skip
def test_every_way_to_write_an_insert_is_understood(http: httpx.Client, statement: str) -> None:
    reply = http.post("/", content=statement)
    assert reply.status_code == 200, reply.text
    assert http.get("/", params={"query": "SELECT a FROM t"}).text == "1\n"


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_compressed_inserts_are_unpacked(client: Client, encoding: str) -> None:
    with clickhouse_connect.get_client(
        host="127.0.0.1", port=urlsplit(client.url).port, database=client.database, compress=encoding
    ) as packed:
        packed.insert("t", [[1, "x", 0]], column_names=["a", "s", "at"])
    assert client.command("SELECT count() FROM t") == 1


def test_a_packed_body_that_is_damaged_is_an_error_not_a_crash(http: httpx.Client) -> None:
    body = gzip.compress(b"SELECT 1")[:-6]
    assert http.post("/", content=body, headers={"Content-Encoding": "gzip"}).status_code == 400
    assert http.post("/", content=b"SELECT 1", headers={"Content-Encoding": "rot13"}).status_code == 400
    assert http.get("/ping").status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_and_head_only_read_whatever_they_ask_for(http: httpx.Client, method: str, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    for query in ("DROP TABLE t", "INSERT INTO t VALUES (1, '', 0)", f"SELECT 1 INTO/**/OutFile '{stolen}'"):
        for more in ({}, {"readonly": "0"}):
            reply = http.request(method, "/", params={"query": query, **more})
            assert (reply.status_code, reply.headers["X-ClickHouse-Exception-Code"]) == (403, "164")
    assert http.get("/", params={"query": "SELECT count() FROM t"}).text.strip() == "0"
    assert not stolen.exists()


@pytest.mark.parametrize("origin", ["cross-site", "same-site", "same-origin"])
def test_what_a_browser_fetches_for_a_page_is_refused_without_an_origin_too(http: httpx.Client, origin: str) -> None:
    query = {"query": "SELECT 1"}
    assert http.get("/", params=query, headers={"Sec-Fetch-Site": origin}).status_code == 403
    assert http.get("/", params=query, headers={"Sec-Fetch-Site": "none"}).text.strip() == "1"


def test_a_form_that_is_no_text_is_a_bad_request(http: httpx.Client) -> None:
    reply = http.post("/", files={"query": (None, b"SELECT \xff")})
    assert (reply.status_code, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "36")


def test_web_pages_of_other_origins_are_refused(http: httpx.Client) -> None:
    reply = http.post("/", content="DROP TABLE t", headers={"Origin": "http://evil.example"})
    assert reply.status_code == 403
    assert http.get("/ping", headers={"Host": "evil.example"}).status_code == 400
    assert http.get("/", params={"query": "EXISTS TABLE t"}).text == "1\n"
