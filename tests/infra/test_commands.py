"""`simpersona migrate` and `simpersona doctor` as commands; `up` has its own test in tests/integration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli.main import main
from infra.stack.ports import free_port
from schemas.settings import settings
from streams.broker.topology import TOPICS

HEAVY = {"torch", "faust", "chdb", "pyarrow", "kafka", "numba", "clickhouse_connect"}


@pytest.fixture(autouse=True)
def fresh_settings() -> None:
    settings.cache_clear()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, " ".join(printed.err.split())


def test_migrate_makes_tables_and_topics_and_says_so(
    capsys: pytest.CaptureFixture[str], kafka: str, clickhouse: str
) -> None:
    addresses = ("--clickhouse", clickhouse, "--kafka", kafka)
    code, out, _ = run(capsys, "migrate", *addresses, "--json")
    assert code == 0
    assert json.loads(out)["applied"] == []
    assert json.loads(out)["topics"] == dict.fromkeys(TOPICS, 4)
    code, out, _ = run(capsys, "migrate", *addresses)
    assert "nothing to apply, it is up to date" in out
    assert "Topic clicks.raw: 4 partitions." in out


@pytest.mark.parametrize("missing", ["kafka", "clickhouse"])
def test_migrate_without_broker_or_store_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], kafka: str, missing: str
) -> None:
    nobody = free_port()
    bootstrap = f"127.0.0.1:{nobody}" if missing == "kafka" else kafka
    url = f"http://127.0.0.1:{nobody}/simpersona"
    code, out, err = run(capsys, "migrate", "--clickhouse", url, "--kafka", bootstrap)
    assert (code, out) == (2, "")
    assert err.startswith("error: No ")
    assert "Connection refused" in err
    assert err.count(". ") == 0


def test_doctor_prints_findings_as_json_and_fails_where_something_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kafka: str, clickhouse: str
) -> None:
    monkeypatch.setenv("SIMPERSONA_KAFKA", kafka)
    monkeypatch.setenv("SIMPERSONA_CLICKHOUSE", clickhouse)
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 1
    shown = json.loads(out)
    assert shown["well"] is False
    verdicts = {finding["check"]: finding["verdict"] for finding in shown["findings"]}
    assert (verdicts["broker"], verdicts["store"], verdicts["topics"]) == ("ok", "ok", "failed")
    code, out, _ = run(capsys, "doctor")
    assert code == 1
    assert "simpersona migrate" in out


@pytest.mark.fast
def test_a_full_disk_under_the_output_is_one_sentence() -> None:
    program = [sys.executable, "-m", "infra.cli.main", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The output cannot be written, its disk is full;")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "migrate", "doctor"])
def test_help_has_an_example_and_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom infra.cli.main import main\n"
        f"try:\n    main(['{command}', '--help'])\n"
        f"except SystemExit:\n    print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example: simpersona" in done.stdout
    assert "loaded []" in done.stdout
