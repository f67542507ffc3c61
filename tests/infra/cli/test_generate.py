"""``simpersona generate``: counts on standard output, one sentence and exit code 2 for bad input."""

import json
from pathlib import Path

import pytest

from encoders.event_log import count_rows
from infra.cli.main import main

pytestmark = pytest.mark.fast


def run(folder: Path, *arguments: str) -> int:
    """Run the command with files in a folder and return its exit code."""
    files = ["--out", str(folder / "events.parquet"), "--truth", str(folder / "truth.parquet")]
    try:
        main(["generate", *files, *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


SMALL = ("--merchants", "2", "--buyers", "10", "--hours", "6", "--seed", "1")


def test_json_gives_every_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, *SMALL, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["events"] == count_rows([tmp_path / "events.parquet"])
    assert (told["merchants"], told["buyers"]) == (2, 20)


def test_a_table_gives_every_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, *SMALL) == 0
    printed = capsys.readouterr().out
    for what in ("events", "sessions", "bot sessions", "duplicates", "late", "delayed", "malformed", "drifts"):
        assert what in printed


def test_a_start_without_a_zone_is_utc(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, *SMALL, "--start", "2026-01-02T03:00") == 0
    assert json.loads((tmp_path / "truth.json").read_text())["start"] == "2026-01-02T03:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--start", "yesterday"), "--start 'yesterday' is no ISO 8601 time; write it like 2026-09-07T00:00:00Z."),
        (("--start", "1969-01-01"), "expected a time between the years 2000 and 2100."),
        (("--merchants", "0"), "merchants is 0, expected 1 to 100000; choose another value."),
        (("--late", "1.5"), "late is 1.5, expected 0 to 1; choose another value."),
        (("--truth", "."), ".: is a folder; name a file to write."),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: tuple[str, str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *SMALL, *arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
