"""The parent: whatever happens, nothing it started is left."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.errors import FolderLockedError, ServiceFailedError
from infra.stack.child import Child, ChildSpec
from infra.stack.supervisor import STOP_SIGNALS, Supervisor


@dataclass
class Thing:
    child: Child

    @classmethod
    def start(cls, folder: Path, code: str = "import time; time.sleep(600)", name: str = "thing") -> "Thing":
        return cls(Child(ChildSpec(name, [sys.executable, "-c", code], folder / f"{name}.log")))


def test_leaving_stops_every_child_and_lets_go_of_the_folder(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        things = [supervisor.start(lambda: Thing.start(tmp_path)) for _ in range(3)]
        assert (tmp_path / "lock").exists()
    assert all(thing.child.exit_code() is not None for thing in things)
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
def test_a_stop_signal_while_watching_is_a_keyboard_interrupt_and_stops_all(
    tmp_path: Path, number: signal.Signals
) -> None:
    killer = f"import os, signal; os.kill({os.getpid()}, {int(number)}); import time; time.sleep(600)"
    with pytest.raises(KeyboardInterrupt), Supervisor(tmp_path) as supervisor:
        thing = supervisor.start(lambda: Thing.start(tmp_path, killer))
        supervisor.watch()
    assert thing.child.exit_code() is not None


def test_a_signal_while_a_child_is_being_started_waits_until_it_is_known(tmp_path: Path) -> None:
    started: list[Thing] = []

    def start_and_be_interrupted() -> Thing:
        os.kill(os.getpid(), signal.SIGINT)
        started.append(Thing.start(tmp_path))
        return started[0]

    with pytest.raises(KeyboardInterrupt), Supervisor(tmp_path) as supervisor:
        supervisor.start(start_and_be_interrupted)
    assert started[0].child.exit_code() is not None


def test_an_interrupt_outranks_the_failure_that_it_caused(tmp_path: Path) -> None:
    def fail_because_of_it() -> Thing:
        os.kill(os.getpid(), signal.SIGINT)
        raise ServiceFailedError("The thing could not be started.")

    with pytest.raises(KeyboardInterrupt), Supervisor(tmp_path) as supervisor:
        supervisor.start(fail_because_of_it)


def test_a_child_that_ends_when_it_is_done_is_no_failure_but_its_failure_is(tmp_path: Path) -> None:
    def start(name: str, code: str) -> Thing:
        return Thing(Child(ChildSpec(name, [sys.executable, "-c", code], tmp_path / f"{name}.log", ends=True)))

    with Supervisor(tmp_path) as supervisor:
        done = supervisor.start(lambda: start("done", "pass"))
        supervisor.watch(lambda: done.child.exit_code() is not None)
        supervisor.check()
        supervisor.start(lambda: start("broken", "raise SystemExit(3)"))
        with pytest.raises(ServiceFailedError, match="broken ended with code 3"):
            supervisor.watch()


def test_signals_while_stopping_change_nothing(tmp_path: Path) -> None:
    # The child answers the polite signal by interrupting its parent again before it ends.
    vengeful = (
        "import os, signal\n"
        # Blocked until it is waited for: a handler could miss one that comes just before a sleep.
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
        "print('up', flush=True)\n"
        "signal.sigwait({signal.SIGTERM})\n"
        f"os.kill({os.getpid()}, signal.SIGINT)"
    )
    with Supervisor(tmp_path) as supervisor:
        quiet = supervisor.start(lambda: Thing.start(tmp_path, name="quiet"))
        loud = supervisor.start(lambda: Thing.start(tmp_path, vengeful, name="loud"))
        loud.child.wait_ready(lambda: "up" in loud.child.tail(), 30)
    assert loud.child.exit_code() == 0
    assert quiet.child.exit_code() is not None
    assert not (tmp_path / "lock").exists()


def test_a_child_that_ends_by_itself_ends_the_watch_with_its_last_words(tmp_path: Path) -> None:
    failed = pytest.raises(ServiceFailedError, match=r"The thing ended with code 1.*says: out of luck")
    with failed, Supervisor(tmp_path) as supervisor:
        other = supervisor.start(lambda: Thing.start(tmp_path, name="other"))
        supervisor.start(lambda: Thing.start(tmp_path, "import sys; sys.exit('out of luck')"))
        supervisor.watch()
    assert other.child.exit_code() is not None


def test_a_service_that_is_stopped_on_purpose_is_not_missed(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        thing = supervisor.start(lambda: Thing.start(tmp_path))
        supervisor.stop(thing)
        supervisor.check()


def test_a_folder_in_use_is_refused_and_the_signals_are_handed_back(tmp_path: Path) -> None:
    former = [signal.getsignal(number) for number in STOP_SIGNALS]
    with Supervisor(tmp_path):
        with pytest.raises(FolderLockedError), Supervisor(tmp_path):
            pytest.fail("the folder was given to two runs")
        assert (tmp_path / "lock").exists()
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == former
