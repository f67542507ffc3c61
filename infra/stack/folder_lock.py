"""One run per data folder: a lock that the kernel lets go of with the process, however it ends."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import TextIO

from infra.errors import FolderLockedError, FolderUnusableError

#: Below this the store could not even merge its parts.
LEAST_FREE_MB = 128


class FolderLock:
    """The lock file of a data folder, made with the folder if need be."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self._folder = folder
        self._file: TextIO | None = None

    def take(self) -> None:
        """Take the lock.

        Raises FolderLockedError when another run holds it, FolderUnusableError when the folder cannot be written or
        its disk is full.
        """
        path = self._folder / "lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free_mb = shutil.disk_usage(self._folder).free >> 20
            if free_mb < LEAST_FREE_MB:
                raise FolderUnusableError(
                    f"The disk of the data folder {self._folder} has {free_mb} MiB left and {LEAST_FREE_MB} MiB are "
                    "needed; make room or choose another --data-dir."
                )
            self._file = self._locked(path)
            self._file.truncate(0)
            self._file.write(f"{os.getpid()}\n")
            self._file.flush()
        except OSError as error:
            raise FolderUnusableError(
                f"The data folder {self._folder} cannot be used ({error.strerror}): "
                "mend it or choose another --data-dir."
            ) from error

    def release(self) -> None:
        """Remove the lock file while it is still ours, then let go. Does nothing when it was not taken."""
        if self._file is not None:
            Path(self._file.name).unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _locked(self, path: Path) -> TextIO:
        while True:
            file = path.open("a+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip()
                file.close()
                raise FolderLockedError(
                    f"The data folder {self._folder} is in use by another run (process {holder or 'unknown'}): "
                    "end it or choose another --data-dir."
                ) from error
            # A run that ended between open and flock has unlinked this very file: take the one that is there now.
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
            file.close()
