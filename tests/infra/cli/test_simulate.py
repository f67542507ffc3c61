"""Options of ``simpersona simulate`` that do not go together, and times at which no run can begin."""

import pytest

from agent_runtime.errors import PopulationError
from infra.cli.event_time import start_ms, time_ms
from tests.commands import ends

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--merchant m --variant c.yaml --browser",
            "--variant plays both storefronts in process; leave --browser out.",
        ),
        (
            "--merchant m --variant c.yaml --out o --wait 5",
            "--variant takes no notice of --wait, --out; leave them out.",
        ),
        ("--manifest r.json --hours 3", "--manifest takes no notice of --hours; leave it out."),
        ("--manifest r.json --start 2026-01-01 --wait 3", "--manifest takes no notice of --start, --wait; leave them"),
        ("--merchant m --adapt", "--adapt learns from the storefront's own sessions; show them with --events."),
        ("--merchant m --steps s.jsonl", "--steps tells of pages, and without --browser there are none"),
        ("--merchant m --at 2026-01-01 --assignments a --variant c", "--at asks the store for a mix"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: str, sentence: str
) -> None:
    ends(2, ["simulate", *arguments.split()])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {sentence}")


@pytest.mark.parametrize("text", ["1990-01-01", "2100-01-01", "2200-01-01"])
def test_a_run_begins_at_a_time_that_the_stream_takes(text: str) -> None:
    with pytest.raises(
        PopulationError, match=f"--start {text}: the stream takes times between the years 2000 and 2100"
    ):
        start_ms(text, 0)


def test_a_run_begins_when_the_one_before_it_is_over() -> None:
    over_ms = time_ms("2026-01-02T03:04:05", "--start")
    assert start_ms("2026-01-02T03:04:05Z", over_ms) == over_ms
    with pytest.raises(PopulationError, match=r"an earlier run lasts until 2026-01-02T03:04:05.000\+00:00; begin then"):
        start_ms("2026-01-02T03:04:04", over_ms)
