"""One supervised process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.errors import FolderUnusableError, ServiceFailedError
from infra.stack.child import Child, ChildSpec

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
DEADLINE_S = 30.0


def spec(tmp_path: Path, code: str, **more: object) -> ChildSpec:
    return ChildSpec("thing", [sys.executable, "-c", code], tmp_path / "logs" / "thing.log", **more)  # type: ignore[arg-type]


def wait_until_gone(pid: int) -> bool:
    give_up_at = time.monotonic() + DEADLINE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True


def up(child: Child) -> bool:
    return "up" in child.tail()


def test_a_child_runs_in_its_own_process_group_and_ends_at_stop(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, SLEEP))
    child.wait_ready(lambda: up(child), DEADLINE_S)
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    child.stop()
    assert child.exit_code() == -signal.SIGTERM
    child.stop()


def test_a_child_that_ignores_the_polite_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP
    child = Child(spec(tmp_path, stubborn, grace_s=0.1))
    child.wait_ready(lambda: up(child), DEADLINE_S)
    child.stop()
    assert child.exit_code() == -signal.SIGKILL


def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('up', p.pid, flush=True); p.wait()"
    )
    child = Child(spec(tmp_path, code))
    child.wait_ready(lambda: up(child), DEADLINE_S)
    grandchild = int(child.tail().split()[-1])
    child.stop()
    assert wait_until_gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_dies_with_a_parent_that_is_killed_outright(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from infra.stack.child import Child, ChildSpec\n"
        f"child = Child(ChildSpec('thing', [sys.executable, '-c', {SLEEP!r}], pathlib.Path(sys.argv[1])))\n"
        "child.wait_ready(lambda: 'up' in child.tail(), 30)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, check=False)
    assert wait_until_gone(int(parent.stdout))


def test_a_child_that_ends_while_it_is_waited_for_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "import sys; sys.exit('no such thing')"))
    with pytest.raises(ServiceFailedError, match=r"ended with code 1; its log .*thing.log says: no such thing"):
        child.wait_ready(lambda: False, DEADLINE_S)


def test_a_child_that_does_not_answer_in_time_is_reported(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, SLEEP))
    try:
        with pytest.raises(ServiceFailedError, match=r"The thing did not answer within 0 s; see its log"):
            child.wait_ready(lambda: False, 0.0)
    finally:
        child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the data limit is the Linux kernel's")
def test_the_kernel_refuses_a_child_more_memory_than_its_limit(tmp_path: Path) -> None:
    child = Child(spec(tmp_path, "bytearray(512 << 20)", data_limit_bytes=256 << 20))
    with pytest.raises(ServiceFailedError, match="MemoryError"):
        child.wait_ready(lambda: False, DEADLINE_S)


def test_a_log_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(FolderUnusableError, match=r"The thing cannot be started with its log in .*; make room"):
        Child(spec(tmp_path, SLEEP))
