"""Real click logs from file to simulated buyer: three train the encoder, two unseen merchants stream through Kafka."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.stack.clickhouse import connect
from infra.stack.ports import LOOPBACK, free_port
from schemas.settings import Settings

DATA = Settings().data
LOGS = {
    "rees46": "rees46_multicategory_2019oct/2019-Oct_first_2h50.csv.gz",
    "eshop2008": "uci_eshop_clothing_2008/e-shop_clothing_2008.csv.gz",
    "otto": "otto_test_fixture/train.jsonl.gz",
    "retailrocket": "retailrocket_sample/sample_events.csv.gz",
    "ga360": "google_merch_store_20170801/ga_sessions_20170801.csv.gz",
}
SEEN, UNSEEN = ("rees46", "eshop2008", "otto"), ("retailrocket", "ga360")
DEADLINE_S = 180.0

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no real logs at SIMPERSONA_DATA={DATA}"),
]


def simpersona(*arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """Run a command as a user would and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli.main", *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up, f"gave up waiting for {what}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def imported(folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.parquet" for name in LOGS}
    for name, path in paths.items():
        simpersona("import", "--format", name, DATA / LOGS[name], "--out", path)
    return paths


@pytest.fixture(scope="module")
def encoder(folder: Path, imported: dict[str, Path]) -> Path:
    events = [word for name in SEEN for word in ("--events", imported[name])]
    simpersona("train", *events, "--out", folder / "encoder", "--epochs", 2, "--limit-sessions", 6000)
    return folder / "encoder"


@pytest.fixture
def worker(apache_kafka: str, clickhouse: str, encoder: Path, folder: Path) -> Iterator[dict[str, str]]:
    """A running worker on Apache Kafka; gives the environment that leads a command to the same parts."""
    port = free_port()
    environment = {
        "SIMPERSONA_KAFKA": apache_kafka,
        "SIMPERSONA_CLICKHOUSE": clickhouse,
        "SIMPERSONA_ENCODER": str(encoder),
        "SIMPERSONA_HEALTH_PORT": str(port),
        "SIMPERSONA_SIMULATOR": str(folder / "simulator"),
    }
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams"], env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: _status(port) == "ok", "the worker to join")
        yield environment
    finally:
        process.terminate()
        process.wait(timeout=60)


def _status(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/health", timeout=2) as answer:
            return str(json.load(answer)["status"])
    except HTTPError as error:
        return str(json.load(error)["status"])
    except (URLError, ConnectionError, TimeoutError):
        return ""


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    ordered = table.sort_by([("merchant_id", "ascending"), ("session_id", "ascending")])
    return ordered.to_pylist()


def test_unseen_merchants_stream_to_the_rows_of_the_offline_pass_and_grow_simulated_buyers(
    worker: dict[str, str], imported: dict[str, Path], encoder: Path, folder: Path
) -> None:
    events = [word for name in UNSEEN for word in ("--events", imported[name])]
    offline = folder / "assigned.parquet"
    simpersona("assign", *events, "--encoder", encoder, "--out", offline)
    expected = rows_of(pq.read_table(offline))

    sent = json.loads(simpersona("replay", *events, "--speed", "max", "--json", environment=worker))
    assert sent["events"] == sum(pq.read_metadata(imported[name]).num_rows for name in UNSEEN)

    client = connect(worker["SIMPERSONA_CLICKHOUSE"])
    columns = ", ".join(expected[0])
    finals = f"SELECT {columns} FROM session_assignments FINAL WHERE is_final AND superseded_by = ''"
    wait_for(lambda: client.query(f"SELECT count() FROM ({finals})").result_rows[0][0] >= len(expected), "final rows")
    streamed = client.query_arrow(finals).cast(pq.read_schema(offline))
    assert rows_of(streamed) == expected
    wait_for(lambda: client.query("SELECT min(balanced) FROM books").result_rows[0][0] == 1, "balanced books")

    trained_on = [word for name in SEEN for word in ("--events", imported[name])]
    known = folder / "known.parquet"
    simpersona("assign", *trained_on, "--encoder", encoder, "--out", known)
    simpersona(
        "finetune", *trained_on, "--assignments", known, "--encoder", encoder, "--out", folder / "simulator",
        "--scripted-only", environment=worker,
    )  # fmt: skip
    for merchant in UNSEEN:
        mix = json.loads(simpersona("distribution", "--merchant", merchant, "--json", environment=worker))
        assert mix["merchant_id"] == merchant
        report = folder / f"{merchant}.json"
        simpersona(
            "simulate", "--merchant", merchant, "--buyers", 50, "--events", imported[merchant], "--backend", "markov",
            "--wait", 60, "--json", report, environment=worker,
        )  # fmt: skip
        assert json.loads(report.read_text())["round_trip"]["sessions"] == 50
    client.close()
