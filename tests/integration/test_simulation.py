"""Simulated buyers over the whole path: drawn from the stream's own mix, sent to Kafka, and back with a type."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from encoders.serving import Encoder
from infra.stack.ports import LOOPBACK, free_port
from streams.store.connection import Store

BUYERS = 60
CALL_S = 300


@dataclass(frozen=True)
class World:
    """A generated event log of two shops, and a scripted simulator fitted on it."""

    events: Path
    simulator: Path
    encoder: Path


def simpersona(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would; ``settings`` go into its environment."""
    environment: Mapping[str, str] = {f"SIMPERSONA_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli.main", *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=CALL_S, check=False,
    )  # fmt: skip


def done(*arguments: object, **settings: object) -> None:
    finished = simpersona(*arguments, **settings)
    assert finished.returncode == 0, finished.stderr


def sentence(*arguments: object, **settings: object) -> str:
    finished = simpersona(*arguments, **settings)
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    [line] = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, untrained_encoder: Path) -> World:
    folder = tmp_path_factory.mktemp("world")
    events, assigned = folder / "events.parquet", folder / "assigned.parquet"
    done("generate", "--merchants", 2, "--buyers", 150, "--hours", 24, "--seed", 3, "--no-drift",
         "--out", events, "--truth", folder / "truth.parquet")  # fmt: skip
    done("assign", "--events", events, "--encoder", untrained_encoder, "--out", assigned)
    done("finetune", "--events", events, "--assignments", assigned, "--encoder", untrained_encoder,
         "--out", folder / "simulator", "--scripted-only", "--export", folder / "chat.jsonl")  # fmt: skip
    assert all(json.loads(line)["messages"] for line in (folder / "chat.jsonl").read_text().splitlines())
    return World(events, folder / "simulator", untrained_encoder)


def mixes(store: Store) -> list[str]:
    return list(store.select("SELECT DISTINCT merchant_id FROM latest_mix ORDER BY 1").column(0).to_pylist())


def one(store: Store, sql: str) -> Any:
    return store.select(sql).to_pylist()[0]


def test_simulated_buyers_come_back_with_a_type(
    world: World,
    kafka: str,
    clickhouse: str,
    start_worker: Callable[..., Any],
    wait_until: Callable[[Callable[[], bool], str], None],
    tmp_path: Path,
) -> None:
    addresses = {"kafka": kafka, "clickhouse": clickhouse, "simulator": world.simulator}
    worker = start_worker(kafka, clickhouse)
    wait_until(lambda: worker.partitions > 0, "the worker to join")
    done("replay", "--events", world.events, "--speed", "max", **addresses)
    store = Store(clickhouse)
    wait_until(lambda: len(mixes(store)) == 2, "a mix of both shops")
    merchant = mixes(store)[0]

    report = tmp_path / "run.json"
    simulate = ("simulate", "--merchant", merchant, "--buyers", BUYERS, "--backend", "markov")
    first = tmp_path / "first.parquet"
    done(*simulate, "--seed", 5, "--wait", 60, "--json", report, "--out", first, **addresses)
    run = json.loads(report.read_text())
    # The manifest alone says the whole run: no store, no broker, other threads, the same bytes.
    second, nowhere = tmp_path / "second.parquet", f"{LOOPBACK}:{free_port()}"
    away = {"kafka": nowhere, "clickhouse": f"http://default@{nowhere}/simpersona", "simulator": world.simulator}
    done("simulate", "--manifest", report, "--threads", 3, "--out", second, **away)
    assert second.read_bytes() == first.read_bytes()
    assert run["round_trip"]["sessions"] == run["sessions"] == BUYERS
    assert run["manifest"]["mix"]["codebook_version"] == Encoder.load(world.encoder).version
    assert one(store, "SELECT sum(events) AS n FROM simulated_sessions FINAL")["n"] == run["clicks"]
    balance = one(
        store,
        "SELECT count() AS sessions, sum(a.events) AS clicks, countIf(a.events = s.events) AS whole "
        "FROM simulated_sessions AS s FINAL JOIN sessions AS a USING (merchant_id, client_id) "
        "WHERE a.source = 'simulated' AND a.is_final",
    )
    assert balance == {"sessions": BUYERS, "clicks": run["clicks"], "whole": BUYERS}
    live = one(store, "SELECT count() AS n FROM latest_mix WHERE source = 'live' AND merchant_id LIKE 'sim%'")
    assert live["n"] == 0

    assert "had no mix of buyer types by then" in sentence(*simulate, "--at", "2001-01-01", **addresses)

    assert "an earlier run lasts until" in sentence(*simulate, "--start", "2026-01-01", **addresses)
    assert f"No Kafka broker answers ({nowhere}" in sentence(*simulate, **addresses | {"kafka": nowhere})
    assert "its run had --buyers" in sentence("simulate", "--manifest", report, "--buyers", 3, **away)

    # The next run begins where the first has ended, so that none of its clicks is too late.
    # It is fitted to the storefront's own sessions, and its manifest still says the whole run.
    adapt = "--adapt", "--events", world.events
    third, fourth = tmp_path / "third.parquet", tmp_path / "fourth.parquet"
    done(*simulate, *adapt, "--seed", 6, "--wait", 60, "--json", report, "--out", third,
         **addresses | {"encoder": world.encoder})  # fmt: skip
    second = json.loads(report.read_text())
    assert any(second["manifest"]["adapter"]["moves"])
    done("simulate", "--manifest", report, "--events", world.events, "--out", fourth, **away)
    assert fourth.read_bytes() == third.read_bytes()
    finished = f"SELECT toUnixTimestamp64Milli(finished_at) AS t FROM simulation_runs WHERE run_id = '{run['run_id']}'"
    assert second["manifest"]["start_ms"] == one(store, finished)["t"]
    assert second["round_trip"]["sessions"] == BUYERS

    idle = simpersona("agents", "--backend", "markov", "--merchant", "nowhere", "--seconds", 0.5, **addresses)
    assert "waiting for a mix of nowhere" in idle.stderr
    done("agents", "--backend", "markov", "--rate", 600, "--speed", 600, "--every", 0.5, "--seconds", 8, **addresses)
    lived = one(
        store,
        "SELECT count() AS runs, sum(buyers) AS buyers FROM simulation_runs FINAL WHERE JSONHas(manifest, 'live')",
    )
    assert lived["runs"] == 2
    came = "SELECT count() AS n FROM round_trip JOIN simulation_runs USING (run_id) WHERE JSONHas(manifest, 'live')"
    wait_until(lambda: one(store, came)["n"] > lived["buyers"] * 0.2, "shoppers of the live population to come back")
    assert one(store, "SELECT count() AS n FROM rejected_events WHERE topic = 'clicks.simulated'")["n"] == 0
    store.close()


def test_what_a_simulation_lacks_is_said_in_one_sentence(world: World, kafka: str, clickhouse: str) -> None:
    addresses = {"kafka": kafka, "clickhouse": clickhouse, "simulator": world.simulator}
    assert "Merchant nowhere has no mix of buyer types; none is known yet" in sentence(
        "simulate", "--merchant", "nowhere", "--backend", "markov", **addresses
    )
    assert "holds no language model, only the scripted backends" in sentence(
        "simulate", "--merchant", "nowhere", **addresses
    )
    assert "no simulator there" in sentence(
        "simulate", "--merchant", "nowhere", **{**addresses, "simulator": world.events.parent}
    )
    nobody = f"{LOOPBACK}:{free_port()}"
    assert f"No Kafka broker answers ({nobody}" in sentence(
        "agents", "--backend", "markov", **addresses | {"kafka": nobody}
    )
    assert "personas.distribution" in sentence("agents", "--backend", "markov", **addresses)
    assert "Name the merchant with --merchant, or a run to repeat" in sentence("simulate", **addresses)
    assert "--adapt fits one of local, text, markov to --events" in sentence(
        "simulate", "--merchant", "m", "--backend", "replay", "--adapt", "--events", world.events, **addresses
    )
    assert "no manifest of a run" in sentence("simulate", "--manifest", world.events, **addresses)
    away = f"http://default@{nobody}/simpersona"
    assert "does not answer" in sentence(
        "simulate", "--merchant", "m", "--backend", "markov", **addresses | {"clickhouse": away}
    )
