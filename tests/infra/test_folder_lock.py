"""The lock of a data folder."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from infra.errors import FolderLockedError, FolderUnusableError
from infra.stack.folder_lock import FolderLock

pytestmark = pytest.mark.fast


def test_the_lock_makes_the_folder_and_leaves_no_file_behind(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    lock = FolderLock(folder)
    lock.take()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    assert list(folder.iterdir()) == []


def test_a_second_run_is_told_which_process_holds_the_folder(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.take()
    with pytest.raises(FolderLockedError, match=rf"in use by another run \(process {os.getpid()}\): end it or choose"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_the_lock_of_a_run_that_was_killed_is_free_again(tmp_path: Path) -> None:
    killed = (
        "import os, pathlib, signal, sys\n"
        "from infra.stack.folder_lock import FolderLock\n"
        "FolderLock(pathlib.Path(sys.argv[1])).take()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert (tmp_path / "lock").exists()
    lock = FolderLock(tmp_path)
    lock.take()
    lock.release()
    assert not (tmp_path / "lock").exists()


def test_releasing_what_was_not_taken_does_nothing(tmp_path: Path) -> None:
    FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FolderUnusableError, match=r"cannot be used \(File exists\): mend it or choose another"):
        FolderLock(file).take()


def test_a_full_disk_is_one_clear_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 30, (1 << 30) - 4096, 4096))
    with pytest.raises(FolderUnusableError, match=r"has 0 MiB left and 128 MiB are needed; make room"):
        FolderLock(tmp_path).take()
    assert list(tmp_path.iterdir()) == []
