"""Peers: their command line, their answer, and one of them on a real broker."""

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.backlog import fill
from bench.peers import build
from bench.peers.build import peers_python, session_count_jars
from bench.peers.peer import PEERS, Peer, read_answer, run_peer
from bench.peers.task import Task
from encoders.event_log import count_rows
from infra.errors import BenchError
from infra.stack.supervisor import Supervisor
from schemas.settings import Settings
from schemas.topics import CLICKS_RAW

TASK = Task("127.0.0.1:9", CLICKS_RAW, 4, 1_000, 100, 1_800_000, 300_000, 1_000, Path("state"))
CONTRACT = {"aiokafka_fastavro", "faust_plain", "quix_session", "bytewax_session", "kafka_streams_session"}


@pytest.mark.fast
def test_the_peers_are_those_of_the_contract_and_each_is_a_module() -> None:
    assert {peer.name for peer in PEERS} == CONTRACT
    assert all(find_spec(f"bench.peers.{name}") for name in CONTRACT)


@pytest.mark.fast
def test_a_task_comes_out_of_its_own_command_line() -> None:
    assert Task.parse(TASK.arguments()) == TASK


@pytest.mark.fast
def test_an_incomplete_command_line_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Task.parse(TASK.arguments()[2:])
    assert ended.value.code == 2
    assert "--kafka" in capsys.readouterr().err


@pytest.mark.fast
def test_the_answer_is_the_last_json_line_among_whatever_a_peer_prints() -> None:
    said = 'warming up\n{"seconds": 2.0, "cpu_s": 1.5, "events": 900, "versions": {"aiokafka": "0.14.0"}}\nbye\n'
    answer = read_answer("aiokafka_fastavro", said, 0)
    assert (answer.seconds, answer.cpu_s, answer.events) == (2.0, 1.5, 900)
    assert answer.versions == {"aiokafka": "0.14.0"}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("said", "code", "sentence"),
    [
        (
            "Traceback\nImportError: no quixstreams\n",
            1,
            "quix_session ended with code 1 and said: ImportError: no",
        ),
        ("", None, "quix_session took too long and said: nothing"),
    ],
)
def test_a_peer_without_an_answer_is_one_sentence_with_its_last_words(
    said: str, code: int | None, sentence: str
) -> None:
    with pytest.raises(BenchError, match=sentence):
        read_answer("quix_session", said, code)


@pytest.mark.fast
def test_a_machine_without_uv_or_a_jdk_is_one_sentence_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BenchError, match="made by uv and no `uv` is here"):
        peers_python(tmp_path / "cache")
    with pytest.raises(BenchError, match="compiled by a JDK and no `javac` is here"):
        session_count_jars(tmp_path / "cache")


@pytest.mark.fast
def test_what_was_built_is_kept_until_its_sources_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$1" >> {log}\nfor last; do :; done\n[ "$1" = venv ] && mkdir -p "$last"\nexit 0\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("bytewax==0.21.1\n")
    monkeypatch.setattr(build, "_REQUIREMENTS", requirements)
    first = peers_python(tmp_path / "cache")
    assert peers_python(tmp_path / "cache") == first
    assert log.read_text().split() == ["venv", "pip"]
    requirements.write_text("bytewax==0.21.2\n")
    assert peers_python(tmp_path / "cache") != first
    assert log.read_text().split() == ["venv", "pip"] * 2


@pytest.fixture
def filled(kafka: str, small_log: Path, tmp_path: Path) -> Task:
    """A task for a topic on the embedded broker, with a folder of its own."""
    settings = Settings(kafka=kafka)
    fill(settings, small_log)
    (tmp_path / "state").mkdir()
    events = count_rows([small_log])
    return replace(TASK, kafka=kafka, events=events, warm_up=events // 10, folder=tmp_path / "state")


def peer(name: str) -> Peer:
    return next(one for one in PEERS if one.name == name)


def test_bare_aiokafka_reads_every_click_of_the_topic_and_says_how_long_it_took(filled: Task, tmp_path: Path) -> None:
    with Supervisor(tmp_path / "run") as supervisor:
        answer = run_peer(peer("aiokafka_fastavro"), filled, supervisor, tmp_path / "peer.log")
    assert answer.events == filled.events - filled.warm_up
    assert answer.cpu_s > 0
    assert answer.seconds > 0
    assert set(answer.versions) == {"aiokafka", "fastavro"}


def test_a_peer_that_cannot_run_is_one_sentence(filled: Task, tmp_path: Path) -> None:
    absent = Peer("no_such_peer", None, lambda: Path(sys.executable))
    with Supervisor(tmp_path / "run") as supervisor, pytest.raises(BenchError, match="no_such_peer ended with code 1"):
        run_peer(absent, filled, supervisor, tmp_path / "peer.log")
