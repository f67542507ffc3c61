"""Where ``train`` takes sessions from: ranges of time, and what is no time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from encoders.errors import TrainingDataError
from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from infra.cli.main import main
from infra.cli.session_source import SessionSource, time_range
from infra.errors import ArgumentError

pytestmark = pytest.mark.fast
MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven buyers, one session of two views at noon of each day."""
    rows = [
        {
            "event_id": f"{day}-{view}", "merchant_id": "shop", "client_id": f"buyer-{day}",
            "event_name": "product_viewed", "is_bot": False, "schema_version": 1,
            "occurred_at": int(MONDAY.timestamp() * 1000) + day * DAY_MS + DAY_MS // 2 + view * 1000,
            "received_at": int(MONDAY.timestamp() * 1000) + day * DAY_MS + DAY_MS // 2 + view * 1000,
        }
        for day in range(7)
        for view in range(2)
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("week") / "week.parquet"
    with EventLogWriter(path) as writer:
        writer.write(pa.Table.from_pylist(rows, ARROW_SCHEMA))
    return path


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("", "", [0, 1, 2, 3, 4, 5, 6]),
        ("2d", "", [4, 5, 6]),  # a span counts back from the newest session, its own end included
        ("36h", "", [5, 6]),
        ("2026-09-12", "", [5, 6]),
        ("2026-09-08T12:00", "2026-09-10T12:00", [1, 2]),  # a session that begins at --until is out
        ("", "5d", [0]),
        ("1w", "6d", []),
    ],
)
def test_only_sessions_that_began_in_the_range_are_read(week: Path, since: str, until: str, days: list[int]) -> None:
    source = SessionSource((week,), None, *time_range(since, until))
    if not days:
        with pytest.raises(TrainingDataError, match="they began from 2026-09-07 12:00 to 2026-09-13 12:00"):
            source.read(Console(quiet=True))
        return
    log = source.read(Console(quiet=True))
    first_noon_ms = int(MONDAY.timestamp() * 1000) + DAY_MS // 2
    assert sorted(((log.events["t"][log.starts] - first_noon_ms) // DAY_MS).tolist()) == days


def test_spans_and_dates_are_understood() -> None:
    assert time_range("7d", "90m") == (timedelta(days=7), timedelta(minutes=90))
    assert time_range("1.5h", "2026-11-19") == (timedelta(minutes=90), datetime(2026, 11, 19, tzinfo=UTC))
    assert time_range("2026-11-19T09:30+02:00", "")[0] == datetime(2026, 11, 19, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "7", "7y", "-3d", "2026-13-01", "999999999999d"])
def test_what_is_no_time_is_one_sentence(text: str) -> None:
    with pytest.raises(ArgumentError, match=f"--since {text}: no time; give a span such as 7d or 36h, or a date"):
        time_range(text, "")


@pytest.mark.parametrize(("since", "until"), [("1d", "1d"), ("1d", "2d"), ("2026-11-20", "2026-11-19")])
def test_a_range_that_holds_nothing_is_one_sentence(since: str, until: str) -> None:
    with pytest.raises(ArgumentError, match="nothing lies between them"):
        time_range(since, until)


def test_a_log_written_anew_is_another_source(week: Path, tmp_path: Path) -> None:
    copy = tmp_path / "week.parquet"
    copy.write_bytes(week.read_bytes())
    before = SessionSource((copy,), None).describe()
    assert SessionSource((copy,), None).describe() == before
    copy.write_bytes(week.read_bytes() + b" ")
    assert SessionSource((copy,), None).describe() != before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "error: train needs --events (event logs) or --from-kafka: one of the two."),
        (("--events", "e.parquet", "--from-kafka"), "error: train needs --events (event logs) or --from-kafka"),
        (("--from-kafka", "--since", "soon"), "error: --since soon: no time; give a span such as 7d or 36h"),
        (("--from-kafka", "--kafka", "127.0.0.1:9"), "error: No Kafka broker answers"),
        (("--events", "absent.parquet"), "error: absent.parquet: there is no such file."),
    ],
)
def test_bad_input_ends_with_code_2_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--out", "o", *arguments])
    assert ended.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
