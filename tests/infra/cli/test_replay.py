"""What the command line says about a replay that cannot be meant."""

import pytest

from infra.cli.main import main

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Name either event logs with --events, or --rejected."),
        (["--rejected", "--events", "events.parquet"], "Name either event logs with --events, or --rejected."),
        (["--events", "events.parquet", "--reason", "late"], "--dry-run belong to --rejected."),
        (["--events", "events.parquet", "--dry-run"], "--dry-run belong to --rejected."),
        (["--rejected", "--reason", "ugly"], "--reason 'ugly' is none; choose from malformed_avro, unknown_schema,"),
        (["--rejected", "--speed", "60"], "--rejected takes no notice of --speed; leave it out."),
        (
            ["--rejected", "--since", "2026-11-24", "--until", "2026-11-23"],
            "--since is not before --until; nothing lies between them.",
        ),
        (["--rejected", "--since", "yesterday"], "'yesterday' is no time; write it like 2026-11-24T09:30 (UTC)."),
    ],
)
def test_one_sentence_says_what_is_wrong(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["replay", *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err
