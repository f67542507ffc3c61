"""``simpersona simulate --browser``: simulated buyers on real pages, their clicks in the simulated topic."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaConsumer, TopicPartition

from agent_runtime.models.markov import fit_markov
from agent_runtime.simulators.simulator import write_simulator
from agent_runtime.storefront.actions import ACTION_INDEX
from agent_runtime.traces.retrace import Steps
from agent_runtime.traces.traces import Traces
from agent_runtime.vocabulary import Vocabulary
from infra.cli.main import main
from infra.stack.clickhouse import connect
from schemas.click_codec import decode_click
from schemas.settings import settings
from schemas.topics import CLICKS_SIMULATED
from streams.broker.topology import ensure_topics
from tests.browser.conftest import make_shop

NAMES = ("page_viewed", "product_viewed:new:new:similar", "product_added_to_cart:same:one")
BUYERS = 2


@pytest.fixture(autouse=True)
def fresh_settings() -> None:
    settings.cache_clear()


def scripted(folder: Path, vocabulary: Vocabulary) -> Path:
    """A simulator whose buyers look at the front page, at a product, and put it into the cart."""
    actions = np.array([ACTION_INDEX[name] for name in NAMES] * 50, np.uint8)
    zeros, sessions = np.zeros(50, np.uint8), np.arange(50)
    steps = Steps(actions, np.full(150, 3, np.uint8), zeros + 1, zeros + 1, zeros, np.arange(51) * 3)
    traces = Traces(
        steps, (sessions % 2).astype(np.int32), np.zeros(50, np.int32), sessions.astype(np.uint64), ("shop",), "cb-test"
    )
    write_simulator(folder, vocabulary, fit_markov(traces, vocabulary), [make_shop()], None, {})
    return folder


def mix_of_two_types(clickhouse: str) -> None:
    with connect(clickhouse) as client:
        client.command(
            "INSERT INTO merchant_distributions SELECT 'shop', 'decayed', "
            "toDateTime64('2026-09-07 12:00:00', 3, 'UTC'), 'cb-test', 'live', number, 0.5, 50, 100, 100, now64(3) "
            "FROM numbers(2)"
        )


def simulated_clicks(kafka: str) -> list[dict[str, object]]:
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=None)
    partitions = [
        TopicPartition(CLICKS_SIMULATED, number) for number in consumer.partitions_for_topic(CLICKS_SIMULATED)
    ]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    clicks = []
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            clicks += [decode_click(record.value) for record in records if record.key is not None]
    consumer.close()
    return clicks


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_buyers_in_chromium_are_written_down_and_their_clicks_go_to_the_simulated_topic(
    chromium: str, kafka: str, clickhouse: str, vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(ensure_topics(kafka, 2, 1))
    mix_of_two_types(clickhouse)
    monkeypatch.setenv("SIMPERSONA_KAFKA", kafka)
    monkeypatch.setenv("SIMPERSONA_CLICKHOUSE", clickhouse)
    report, steps = tmp_path / "run.json", tmp_path / "steps.jsonl"
    model = scripted(tmp_path / "simulator", vocabulary)
    simulate = ("simulate", "--merchant", "shop", "--buyers", BUYERS, "--backend", "markov", "--model", model)
    assert run(*simulate, "--browser", "--steps", steps, "--json", report) == 0

    result = json.loads(report.read_text())
    assert (result["sessions"], result["crashed"]) == (BUYERS, 0)
    clicks = simulated_clicks(kafka)
    assert len(clicks) == result["clicks"] > 0
    assert {str(click["client_id"]) for click in clicks} == {
        f"sim-{result['run_id']}-{agent}" for agent in range(BUYERS)
    }
    done = [json.loads(line) for line in steps.read_text().splitlines()]
    taken = [step["action"]["event"] for step in done if step["outcome"] == "done"]
    assert sorted(taken) == sorted(str(click["event_name"]) for click in clicks)
    assert all(step["state"]["page"] for step in done if step["step"] > 0)
    with connect(clickhouse) as client:
        rows = client.query("SELECT agent, events, crashed FROM simulated_sessions FINAL ORDER BY agent").result_rows
    assert [row[0] for row in rows] == [0, 1]
    assert sum(row[1] for row in rows) == len(clicks)
    assert not any(row[2] for row in rows)


@pytest.mark.fast
def test_steps_without_a_browser_and_a_chromium_that_is_not_there_are_one_sentence_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("simulate", "--merchant", "shop", "--steps", "steps.jsonl") == 2
    assert "error: --steps tells of pages" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setenv("SIMPERSONA_CHROMIUM", "nowhere/chromium")
    settings.cache_clear()
    assert run("bench", "browser") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "error: No Chromium at nowhere/chromium (SIMPERSONA_CHROMIUM); install it" in said
