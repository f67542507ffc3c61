"""`simpersona up` as its user meets it: it comes up, answers, and leaves nothing behind however it ends."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from infra.stack.clickhouse import connect
from infra.stack.kafka_address import answers_metadata

DEADLINE_S = 120.0
STOPPED, INTERRUPTED, FAILED = 0, 130, 2


class Up:
    """One `simpersona up` in a process of its own."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.ready_file = data_dir.parent / "ready.json"
        command = [sys.executable, "-m", "infra.cli.main", "up", "--data-dir", str(data_dir)]
        self.process = subprocess.Popen(
            [*command, "--ready-file", str(self.ready_file), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.children: set[int] = set()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < give_up_at, "waited too long"
            time.sleep(0.01)

    def see_children(self) -> int:
        self.children |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        return len(self.children)

    def ready(self) -> dict[str, Any]:
        self.wait_for(self.ready_file.exists)
        self.see_children()
        addresses: dict[str, Any] = json.loads(self.ready_file.read_text())
        return addresses

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal, wait for the end, and return the exit code and all that was printed."""
        self.see_children()
        self.process.send_signal(number)
        printed = self.process.communicate(timeout=DEADLINE_S)[0]
        return self.process.returncode, printed

    def left_behind(self) -> list[str]:
        """Processes and files that a run must not leave."""
        files = [self.data_dir / "lock", self.data_dir / "clickhouse" / "status", self.ready_file]
        alive = [pid for pid in self.children if psutil.pid_exists(pid)]
        return [str(path) for path in files if path.exists()] + [f"process {pid}" for pid in alive]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts `simpersona up` on the test's own data folder; whatever still runs at the end is killed."""
    runs: list[Up] = []

    def begin(*options: str) -> Up:
        runs.append(Up(tmp_path / "data", *options))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_everything_answers_and_the_store_is_kept_between_runs(start: Callable[..., Up]) -> None:
    first = start()
    addresses = first.ready()
    assert set(addresses) == {"kafka", "clickhouse", "gateway", "dashboard", "storefront"}
    assert addresses["storefront"] == ""  # no catalogue is set
    assert answers_metadata(addresses["kafka"])
    with urlopen(addresses["dashboard"], timeout=30) as page:
        assert page.status == 200
    with connect(addresses["clickhouse"]) as client:
        client.command("INSERT INTO codebooks (codebook_version, created_at) VALUES ('kept', now64(3))")
    code, printed = first.end(signal.SIGINT)
    assert (code, first.left_behind()) == (STOPPED, [])
    assert addresses["kafka"] in printed
    assert "in memory only" in printed
    assert "none: SIMPERSONA_CATALOGUE names no catalogue" in printed

    second = start()
    with connect(second.ready()["clickhouse"]) as client:
        assert client.command("SELECT codebook_version FROM codebooks") == "kept"
    code, _ = second.end(signal.SIGTERM)
    assert (code, second.left_behind()) == (STOPPED, [])


@pytest.mark.parametrize("phase", ["folder locked", "broker started", "store started", "pages started"])
def test_ctrl_c_in_every_phase_leaves_no_process_and_no_lock(start: Callable[..., Up], phase: str) -> None:
    run = start()
    started = {"broker started": 1, "store started": 2, "pages started": 3}
    if phase in started:
        run.wait_for(lambda: run.see_children() >= started[phase])
    else:
        run.wait_for((run.data_dir / "lock").exists)
    code, printed = run.end(signal.SIGINT)
    assert code == INTERRUPTED, printed
    assert run.left_behind() == []
    assert "Traceback" not in printed


def test_a_parent_killed_outright_leaves_no_process_and_its_folder_can_be_used_again(start: Callable[..., Up]) -> None:
    killed = start()
    killed.wait_for(lambda: killed.see_children() >= 3)
    killed.end(signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid) for pid in killed.children if psutil.pid_exists(pid)], timeout=DEADLINE_S)
    assert [pid for pid in killed.children if psutil.pid_exists(pid)] == []
    again = start()
    again.ready()
    code, _ = again.end(signal.SIGINT)
    assert (code, again.left_behind()) == (STOPPED, [])


def test_a_second_run_a_taken_port_and_a_dead_part_are_one_clear_sentence_each(start: Callable[..., Up]) -> None:
    running = start()
    running.ready()

    second = start()
    printed = " ".join(second.process.communicate(timeout=DEADLINE_S)[0].split())
    assert second.process.returncode == FAILED
    assert f"in use by another run (process {running.process.pid}): end it or choose another --data-dir." in printed
    assert running.ready_file.exists()

    store = next(
        child
        for child in psutil.Process(running.process.pid).children()
        if "infra.stack.store_server" in child.cmdline()
    )
    store.kill()
    printed = running.process.communicate(timeout=DEADLINE_S)[0]
    assert running.process.returncode == FAILED
    assert "The embedded store was ended by SIGKILL; its log" in printed
    assert "Traceback" not in printed
    # The store itself could not take its own mark away; the next start does.
    (running.data_dir / "clickhouse" / "status").unlink(missing_ok=True)
    assert running.left_behind() == []

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = start("--clickhouse-port", str(port))
        printed = " ".join(refused.process.communicate(timeout=DEADLINE_S)[0].split())
    assert refused.process.returncode == FAILED
    assert f"Port {port} on 127.0.0.1 cannot be used" in printed
    assert "--clickhouse-port" in printed
    assert refused.left_behind() == []
