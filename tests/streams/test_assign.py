"""The offline pass: the reference's rows in a log's order, counts that add up, and the command over real files."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from encoders.event_log import ARROW_SCHEMA, EventLogWriter
from schemas.events import SessionBatch
from schemas.rejections import CODE_OF_REASON
from streams.errors import AssignmentLogError
from streams.event_logs.assign import AssignCounts, assign, disorder_ms
from streams.event_logs.assignment_log import AssignmentLogWriter
from streams.sessions.emission import CodeColumns
from streams.sessions.rules import SessionRules
from streams.store.tables import SCHEMAS

RULES = SessionRules(100, 20, 1_000, 8)
S = 1_700_000_000_000


class EncoderOfLength:
    """The code of a session is its number of events: deterministic, and wrong as soon as a session is cut wrongly."""

    version = "lengths"
    code_paths = [f"c{n:02d}" for n in range(RULES.session_max_events + 1)]  # noqa: RUF012 - the protocol's shape

    def encode(self, sessions: SessionBatch) -> CodeColumns:
        lengths = np.diff(sessions.offsets).astype(np.int32)
        return SimpleNamespace(code=lengths, confidence=(1 / (1 + lengths)).astype(np.float32))


def passed(world: Any, clicks: list[Any], rows: int, counts: AssignCounts | None = None) -> list[tuple[Any, ...]]:
    """Rows of the offline pass over a log of these clicks, read ``rows`` at a time."""
    times = [(np.array([c.occurred for c in clicks]), np.array([c.received_ms for c in clicks]))]
    batches = [world.batch(clicks[i : i + rows]) for i in range(0, len(clicks), rows)]
    found = []
    disorder = disorder_ms(times, RULES.allowed_lateness_ms)
    for b in assign(iter(batches), EncoderOfLength(), RULES, disorder_ms=disorder, counts=counts, threads=2):
        assert b.is_final.all() and not any(b.superseded_by) and (b.code == b.events).all()
        for i in range(len(b)):
            described = (int(x[i]) for x in (b.started_ms, b.ended_ms, b.events, b.stratum, b.is_bot))
            found.append((b.merchant_id[i], b.client_id[i], b.session_id[i].decode(), *described))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_log_sorted_by_occurrence_gives_the_references_sessions(world: Any, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 40))
    clicks = []
    for i in range(n):
        occurred = S + data.draw(st.integers(0, 1_500))
        delay = data.draw(st.sampled_from([0, 0, 3, 20, 21, -50, -900]))
        clicks.append(world.Click(occurred, data.draw(st.sampled_from("ab")), i, occurred + delay))
    clicks.sort(key=lambda c: c.occurred)
    counts = AssignCounts()
    rows = passed(world, clicks, data.draw(st.integers(1, 20)), counts)
    assert rows == [row[:-1] for row in world.reference(clicks, RULES)]
    assert counts.events == n == counts.accepted + counts.duplicates + sum(counts.rejected.values())
    assert set(counts.rejected) <= {"late"}  # never behind the watermark
    assert counts.sessions == len(rows)


@pytest.mark.fast
def test_late_faulty_and_repeated_events_are_counted(world: Any) -> None:
    click = world.Click(S, id=1)
    clicks = [click, click.again(S + 5), world.Click(S, id=2, received=S + 21)]
    clicks += [world.Click(S + 1, fault=CODE_OF_REASON["bad_price"]), world.Click(S + 2, bot=True)]
    counts = AssignCounts()
    assert len(passed(world, clicks, 2, counts)) == 1
    assert (counts.events, counts.accepted, counts.duplicates) == (5, 2, 1)
    assert counts.rejected == {"late": 1, "bad_price": 1}
    assert (counts.sessions, counts.bot_sessions) == (1, 1)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("occurred", "received", "expected"),
    [
        ([], [], 0),
        ([0, 5, 9], [0, 5, 9], 0),
        ([0, 50, 60], [0, 50, 40], 10),  # ahead of its receipt by 20, behind the one before it by 10
        ([0, 50, 60], [0, 50, 1_000], 0),  # late
        ([10, 4, 5], [10, 10, 10], 6),
    ],
)
def test_the_disorder_of_a_log_is_how_far_a_time_lies_behind_an_earlier_row(
    occurred: list[int], received: list[int], expected: int
) -> None:
    one = [(S + np.array(occurred, np.int64), S + np.array(received, np.int64))]
    row_by_row = [(one[0][0][i : i + 1], one[0][1][i : i + 1]) for i in range(len(occurred))]
    assert disorder_ms(one, 20) == disorder_ms(row_by_row, 20) == expected


def event_log(path: Path, events: list[dict[str, Any]]) -> Path:
    with EventLogWriter(path) as log:
        log.write(pa.Table.from_pylist(events, schema=ARROW_SCHEMA))
    return path


def an_event(number: int, at_ms: int, name: str = "product_viewed") -> dict[str, Any]:
    return dict.fromkeys(ARROW_SCHEMA.names) | {
        "event_id": f"e{number}",
        "merchant_id": "shop",
        "client_id": "anna",
        "event_name": name,
        "occurred_at": at_ms,
        "received_at": at_ms,
        "is_bot": False,
        "schema_version": 1,
        "properties": [],
    }


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that needs no training stands where the artefact would be loaded."""
    from encoders.serving import Encoder

    monkeypatch.setattr(Encoder, "load", staticmethod(lambda folder: EncoderOfLength()))


@pytest.mark.usefixtures("served")
def test_the_command_writes_one_row_a_session_with_the_tables_columns(tmp_path: Path) -> None:
    from infra.cli.assign import app

    events = [an_event(1, S, "page_viewed"), an_event(2, S + 1_000), an_event(3, S + 3_000_000)]
    log, out = event_log(tmp_path / "events.parquet", events), tmp_path / "assignments.parquet"
    result = CliRunner().invoke(app, ["--events", str(log), "--encoder", "anything", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert counts == {
        "events": 3,
        "accepted": 3,
        "duplicates": 0,
        "rejected": {},
        "sessions": 2,
        "bot_sessions": 0,
        "codebook_version": "lengths",
        "out": str(out),
    }
    table = pq.read_table(out)
    assert table.schema.equals(SCHEMAS["session_assignments"])
    assert table.column("events").to_pylist() == [2, 1]
    assert table.column("code_path").to_pylist() == ["c02", "c01"]
    assert table.column("funnel_stratum").to_pylist() == ["B", "B"]
    assert table.column("is_final").to_pylist() == [True, True]


@pytest.mark.parametrize(
    ("events", "encoder", "out", "sentence"),
    [
        ("absent.parquet", "", "out.parquet", "there is no such file"),
        ("empty.parquet", "", "out.parquet", "no events"),
        ("log.parquet", "nothing-there", "out.parquet", "no encoder there"),
        ("log.parquet", "", "", "is a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: Any, events: str, encoder: str, out: str, sentence: str
) -> None:
    from infra.cli.main import main

    if not encoder:
        request.getfixturevalue("served")
    event_log(tmp_path / "log.parquet", [an_event(1, S)])
    event_log(tmp_path / "empty.parquet", [])
    before = sorted(tmp_path.iterdir())
    folder = tmp_path / (encoder or "served")
    arguments = ["--events", str(tmp_path / events), "--encoder", str(folder), "--out", str(tmp_path / out)]
    with pytest.raises(SystemExit) as stopped:
        main(["assign", *arguments])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error.replace("\n", " ") and "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.fast
def test_a_file_of_assignments_is_not_left_half_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), AssignmentLogWriter(tmp_path / "out.parquet"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(AssignmentLogError, match="cannot be written"), AssignmentLogWriter(tmp_path / "file" / "out"):
        pass
