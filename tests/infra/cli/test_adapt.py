"""``simpersona adapt`` as a command: what it refuses before it begins."""

from pathlib import Path

import pytest

from infra.cli.main import main
from infra.stack.ports import free_port

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "error: adapt needs --events (recent traffic) or --from-kafka, and --out (a folder for the new"),
        (("--events", "e.parquet"), "error: adapt needs --events"),
        (("--events", "e.parquet", "--from-kafka", "--out", "o"), "error: adapt needs --events"),
        (("--rollback", "--events", "e.parquet"), "error: --rollback goes back to what was published before"),
        (("--rollback", "--publish"), "error: --rollback takes no notice of --publish; leave it out."),
        (
            ("--events", "e.parquet", "--out", "o", "--challenger", "c", "--train-epochs", "2"),
            "error: --challenger brings a network of its own; leave --train-epochs out.",
        ),
        (("--events", "e.parquet", "--out", "o", "--encoder", "nowhere"), "error: nowhere: no encoder there"),
        (
            ("--events", "e.parquet", "--out", "o", "--encoder", "o"),
            "error: --out o: would write over o, which",
        ),
        (("--events", "e", "--out", "o", "--challenger", "nowhere"), "error: nowhere: no encoder there"),
        (("--half-life", "1"), "Invalid value for '--half-life'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["adapt", *arguments])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2
    assert sentence in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("--rollback",), ("--events", "e.parquet", "--out", "o", "--publish"), ("--from-kafka", "--out", "o")],
)
def test_without_a_broker_nothing_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["adapt", *arguments, "--kafka", f"127.0.0.1:{free_port()}"])
    assert ended.value.code == 2
    assert "error: No Kafka broker answers" in capsys.readouterr().err
