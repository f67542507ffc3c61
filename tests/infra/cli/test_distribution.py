"""``simpersona distribution`` over a store with a known mix."""

import json
from collections.abc import Iterator

import pytest

from infra.cli.main import main
from schemas.settings import settings
from streams.drift.detectors import WINDOW, DriftAlarm
from streams.mixes.decay import Mix
from streams.mixes.rows import MixKey, MixRows
from streams.store.connection import Store
from streams.store.sink import CodebookRow, PersonaRow, Sink

HOUR_MS = 3_600_000
BEGIN_MS = 1_750_075_200_000  # 2025-06-16 12:00 UTC
ALARM = DriftAlarm(
    detector=WINDOW,
    detected_at_ms=BEGIN_MS,
    statistic=0.08,
    threshold=0.01,
    n_effective=187.5,
    baseline_start_ms=BEGIN_MS - HOUR_MS,
    baseline_end_ms=BEGIN_MS,
    baseline_sessions=500,
    recent_sessions=300,
    movers=[(1, 0.1, 0.4)],
    types=[("buyer", 0.1, 0.4)],
)


@pytest.fixture
def told(clickhouse: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """A store in which merchant shop-1 was counted at noon and an hour later."""
    monkeypatch.setenv("SIMPERSONA_CLICKHOUSE", clickhouse)
    settings.cache_clear()
    store = Store(clickhouse)
    sink = Sink(store)
    personas = [
        PersonaRow("v1", code, f"c{code:02d}", name, "…", "{}", 0.5)
        for code, name in enumerate(["brief visitor", "buyer"])
    ]
    sink.codebook(CodebookRow("v1", 0, 2, 2, "{}"), personas)
    rows = MixRows()
    rows.add(MixKey("shop-1", "live"), "v1", "1h", BEGIN_MS, Mix.of_counts({0: 3, 1: 1}))
    rows.add(MixKey("shop-1", "live"), "v1", "1h", BEGIN_MS + HOUR_MS, Mix.of_counts({0: 1, 1: 4}))
    rows.add(MixKey("shop-1", "live"), "v1", "decayed", BEGIN_MS + HOUR_MS, Mix.of_counts({0: 2, 1: 6}))
    rows.add(MixKey("shop-2", "live"), "v1", "1h", BEGIN_MS, Mix.of_counts({0: 1}))
    rows.add(MixKey("sham", "simulated"), "v1", "decayed", BEGIN_MS, Mix.of_counts({0: 1}))
    sink.distributions(rows, emitted_ms=BEGIN_MS)
    sink.drift("shop-1", "v1", ALARM, emitted_ms=BEGIN_MS)
    sink.flush()
    yield sink
    store.close()
    settings.cache_clear()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end with exit code 2; return what it said."""
    with pytest.raises(SystemExit) as caught:
        main(["distribution", *arguments])
    assert caught.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["distribution", *arguments])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_the_current_mix_names_personas_and_drifts(told: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(printed(["--merchant", "shop-1", "--json"], capsys))
    assert answer["window_start"] == "2025-06-16T13:00:00.000Z"
    assert answer["shares"] == [
        {"code": 1, "code_path": "c01", "persona": "buyer", "weight": 0.75, "sessions": 6},
        {"code": 0, "code_path": "c00", "persona": "brief visitor", "weight": 0.25, "sessions": 2},
    ]
    assert (answer["sessions"], answer["n_effective"], answer["codebook_version"]) == (8, 8.0, "v1")
    [drift] = answer["drifts"]
    assert drift["detected_at"] == "2025-06-16T12:00:00.000Z"
    assert drift["details"]["movers"] == [{"code": 1, "before": 0.1, "now": 0.4}]


def test_a_table_is_printed_for_people(told: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(["--merchant", "shop-1"], capsys)
    assert "buyer" in text
    assert "75.0%" in text
    assert "n_effective 8.0" in text
    assert "drift 2025-06-16T12:00:00.000Z: 0.080 nats" in text


def test_an_earlier_time_gives_the_window_of_that_time(told: Sink, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--merchant", "shop-1", "--window", "1h", "--at", "2025-06-16T12:59:00", "--json"]
    answer = json.loads(printed(asked, capsys))
    assert answer["window_start"] == "2025-06-16T12:00:00.000Z"
    assert [share["sessions"] for share in answer["shares"]] == [3, 1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--merchant", "nobody"],
            "Merchant 'nobody' is unknown or has no finished session; known merchants are shop-1,",
        ),
        (["--merchant", "sham"], "known merchants are shop-1, shop-2."),
        (["--merchant", "shop-2"], "Merchant 'shop-2' has no mix in window 'decayed' by then"),
        (["--merchant", "shop-1", "--at", "2020-01-01"], "ask for a later time"),
        (["--merchant", "shop-1", "--window", "2h"], "choose one of decayed, 1m, 5m, 1h, 1d"),
        (["--merchant", "shop-1", "--at", "noon"], "write it like 2026-09-08T12:00:00Z"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(
    told: Sink, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    said = refused(arguments, capsys)
    assert sentence in said
    assert "Traceback" not in said


def test_a_store_that_is_not_there_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIMPERSONA_CLICKHOUSE", "http://default@127.0.0.1:1/simpersona")
    settings.cache_clear()
    assert "ClickHouse at 127.0.0.1:1/simpersona does not answer" in refused(["--merchant", "m"], capsys)
    settings.cache_clear()
