"""``simpersona import``: counts on standard output, one sentence and exit code 2 for bad input."""

import gzip
import json
import os
from pathlib import Path

import pytest

from encoders.event_log import count_rows
from infra.cli.main import main

pytestmark = pytest.mark.fast

LOG = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433223236124,599528,transaction,356475,4000
1433223236124,599528,transaction,356476,4000
1433223236124,599528,sneeze,356476,
"""


def run(*arguments: object) -> int:
    """Run the command and return its exit code."""
    try:
        main(["import", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_text(LOG)
    return path


def test_json_gives_every_count(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = log.with_name("log.parquet")
    assert run("--format", "retailrocket", log, "--out", out, "--merchant", "rr", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "rows": 4,
        "accepted": 2,
        "collapsed": 1,
        "impressions": 0,
        "rejected": {"unknown_event": 1},
        "merchants": 1,
        "clients": 2,
        "first": "2015-06-02T05:02:12.117+00:00",
        "last": "2015-06-02T05:33:56.124+00:00",
    }
    assert count_rows([out]) == 2


def test_the_table_names_the_reasons(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--format", "retailrocket", log, "--out", log.with_name("log.parquet")) == 0
    said = capsys.readouterr().out
    assert "events written" in said
    assert "rejected: unknown_event" in said


def test_rejected_rows_are_saved_when_asked_for(log: Path) -> None:
    rejects = log.with_name("rejects.jsonl")
    assert run("--format", "retailrocket", log, "--out", log.with_name("log.parquet"), "--rejects", rejects) == 0
    assert [json.loads(line)["reason"] for line in rejects.read_text().splitlines()] == ["unknown_event"]


@pytest.mark.parametrize(
    ("format_name", "name", "content", "sentence"),
    [
        ("amazon", "a.csv", LOG.encode(), "Format 'amazon' is not known"),
        ("rees46", "a.csv", LOG.encode(), "not a rees46 log: expected the columns event_time"),
        ("retailrocket", "a.csv.gz", gzip.compress(LOG.encode() * 500, mtime=0)[:-40], "truncated or damaged after"),
        ("retailrocket", "a.csv", b"", "the log is empty"),
        ("retailrocket", "absent.csv", None, "No such file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    format_name: str,
    name: str,
    content: bytes | None,
    sentence: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert run("--format", format_name, path, "--out", tmp_path / "out" / "log.parquet") == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert sentence in " ".join(said.err.split())
    assert said.out == ""
    assert "Traceback" not in said.err
    assert not list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else True


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert run("--format", "rees46", tmp_path / "pipe", "--out", tmp_path / "log.parquet") == 2
    assert "pipe: a pipe, and a log is read more than once; write it to a file first." in capsys.readouterr().err


@pytest.mark.parametrize("format_name", ["otto", "rees46", "taobao"])
def test_bytes_that_are_no_text_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], format_name: str
) -> None:
    (tmp_path / "noise").write_bytes(b"\x1b[31m\x07\xff\xfe" + bytes(range(128, 256)))
    assert run("--format", format_name, tmp_path / "noise", "--out", tmp_path / "log.parquet") == 2
    said = capsys.readouterr().err.strip()
    assert f"not {'an otto' if format_name == 'otto' else f'a {format_name}'} log: expected" in said
    assert "".join(said.splitlines()).isprintable() and "\ufffd" not in said


def test_help_ends_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "Example: simpersona import --format rees46" in capsys.readouterr().out
