"""What a command writes never takes away what it reads, and a place that cannot be written is said before any work."""

from pathlib import Path

import pytest

from infra.cli.outputs import claim, write_json
from infra.errors import ArgumentError
from tests.commands import ends

pytestmark = pytest.mark.fast

FINETUNE = "finetune --events e.parquet --assignments a.parquet --encoder enc"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, str]:
    """Inputs of all kinds in the folder where commands are run; none is what it should be, as none may be touched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "enc").mkdir()
    kept = ("e.parquet", "a.parquet", "raw.csv", "run.json", "change.yaml", "enc/codebook.npz")
    texts = {Path(name): f"this is {name}" for name in kept}
    for path, text in texts.items():
        path.write_text(text)
    return texts


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("assign --events e.parquet --encoder enc --out e.parquet", "--out e.parquet: would write over e.parquet"),
        ("assign --events e.parquet --encoder enc --out ./enc/codebook.npz", "lies in enc"),
        ("assign --events e.parquet --encoder enc --out enc", "--out enc: is a folder; name a file to write."),
        ("import --format rees46 raw.csv --out l.parquet --rejects raw.csv", "--rejects raw.csv: would write over raw"),
        ("import --format rees46 raw.csv --out x --rejects x", "--rejects x: is in the way of --out x;"),
        ("import --format rees46 raw.csv --out enc", "--out enc: is a folder"),
        (f"{FINETUNE} --out enc", "--out enc: would write over enc, which the command reads"),
        (f"{FINETUNE} --out sim --export e.parquet", "--export e.parquet: would write over e.parquet"),
        (f"{FINETUNE} --out sim --export enc", "--export enc: is a folder"),
        (f"{FINETUNE} --out sim --export sim/chat.jsonl", "--export sim/chat.jsonl: is in the way of --out sim"),
        (f"{FINETUNE} --out sim --json e.parquet/x/y", "lies in e.parquet"),
        (f"{FINETUNE} --out sim --json raw.csv/report.json", "--json raw.csv/report.json: cannot be written ("),
        ("train --events e.parquet --out new --json enc", "--json enc: is a folder"),
        ("train --events e.parquet --out new --json e.parquet", "--json e.parquet: would write over e.parquet"),
        ("adapt --events e.parquet --encoder enc --out enc/next", "--out enc/next: lies in enc"),
        ("adapt --events e.parquet --encoder enc --out new --json enc", "--json enc: is a folder"),
        ("align --events e.parquet --encoder enc --json e.parquet", "--json e.parquet: would write over"),
        ("simulate --manifest run.json --json run.json", "--json run.json: would write over run.json"),
        ("simulate --merchant m --json enc", "--json enc: is a folder"),
        ("simulate --merchant m --variant change.yaml --html change.yaml", "--html change.yaml: would write over"),
        ("demo --json enc", "--json enc: is a folder"),
        ("up --ready-file enc", "--ready-file enc: is a folder"),
        ("bench variants --json enc", "--json enc: is a folder"),
        ("generate --out z.json --truth z.parquet", "z.json: is to hold both the events and the summary of the truth"),
        ("generate --out z --truth z.catalogue.parquet", "is to hold both the truth and the catalogues; name two"),
    ],
)
def test_an_output_that_would_take_something_away_is_refused_before_anything_is_done(
    files: dict[Path, str], capsys: pytest.CaptureFixture[str], command: str, sentence: str
) -> None:
    ends(2, command.split())
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert {path: path.read_text() for path in Path().rglob("*") if path.is_file()} == files


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    report = tmp_path / "reports" / "today" / "run.json"
    claim({"--json": report, "--html": None}, [tmp_path / "events.parquet", None])
    write_json(report, {"sessions": 3})
    assert report.read_text() == '{\n  "sessions": 3\n}\n'


def test_a_link_to_an_input_is_that_input(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").write_text("events")
    (tmp_path / "link").symlink_to(tmp_path / "events.parquet")
    with pytest.raises(ArgumentError, match="would write over"):
        claim({"--out": tmp_path / "link"}, [tmp_path / "events.parquet"])


def test_an_output_folder_that_holds_an_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"--out .*encoder: would replace the folder of .*events.parquet"):
        claim({}, [tmp_path / "encoder" / "events.parquet"], tmp_path / "encoder")
