"""``simpersona bench`` as a command: arguments, and that asking for help loads nothing heavy."""

import subprocess
import sys

import pytest

from infra.cli.main import main

pytestmark = pytest.mark.fast
HEAVY = {"torch", "faust", "chdb", "pyarrow", "kafka", "numba", "clickhouse_connect"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    return int(ended.value.code or 0), " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("stream", "--peer", "flink"), "error: --peer 'flink' is no peer; choose from aiokafka_fastavro,"),
        (("stream", "--events", "5"), "Invalid value for '--events'"),
        (("latency", "--rate", "0"), "Invalid value for '--rate'"),
        (("encoder", "--merchants", "2"), "Invalid value for '--merchants'"),
        (("drift", "--points", "0"), "Invalid value for '--points'"),
        (("browser", "--sessions", "1"), "Invalid value for '--sessions'"),
        (("align", "--drifted", "2", "--real"), "error: --drifted makes storefronts of its own; leave out --real"),
        (("align", "--picture", "drift.svg"), "error: --picture draws what --drifted measures; add --drifted 12."),
        (("nothing",), "No such command 'nothing'"),
    ],
)
def test_bad_input_is_said_and_ends_with_code_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = run(capsys, *arguments)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize("what", ["stream", "latency"])
def test_an_encoder_that_is_not_there_is_said_before_anything_starts(
    capsys: pytest.CaptureFixture[str], what: str
) -> None:
    code, said = run(capsys, what, "--encoder", "nowhere")
    assert code == 2
    assert said.startswith("error: ")
    assert "nowhere" in said


@pytest.mark.parametrize("what", ["stream", "latency", "encoder", "real", "drift", "browser"])
def test_help_has_an_example_and_loads_nothing_heavy(what: str) -> None:
    code = (
        "import sys\nfrom infra.cli.main import main\n"
        f"try:\n    main(['bench', '{what}', '--help'])\n"
        f"except SystemExit:\n    print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"Example: simpersona bench {what}" in done.stdout
    assert "loaded []" in done.stdout
