"""What an interrupted training leaves behind, so that the same command goes on where it was.

A folder beside the artefact: what was asked for, the sessions it trains on (a broker may have dropped its clicks by the
time it goes on), and the state after the last whole epoch. It is removed when the artefact is written.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from encoders.errors import CheckpointError, TrainingDataError
from encoders.sessionise import SessionLog

ASKED_FILE, SESSIONS_FILE, STATE_FILE, LOCK_FILE = "asked.json", "sessions.npz", "state.pt", "lock"
_FILES = {ASKED_FILE, SESSIONS_FILE, STATE_FILE, LOCK_FILE}


class Checkpoint:
    """The folder ``OUT.checkpoint`` of the training that is to write ``OUT``; use it as a context manager.

    The block holds the folder for this process alone. Raises CheckpointError when another training has it, when it
    holds something else, or when it cannot be written.
    """

    def __init__(self, out: Path) -> None:
        """Name the folder; nothing is touched yet."""
        self.folder = out.with_name(f"{out.name}.checkpoint")

    def __enter__(self) -> "Checkpoint":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            strange = [path.name for path in self.folder.iterdir() if path.name.removesuffix(".part") not in _FILES]
            if strange:
                raise CheckpointError(f"{self.folder}: holds {strange[0]}, which no training wrote; move it away.")
            self._lock = (self.folder / LOCK_FILE).open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise CheckpointError(
                f"{self.folder}: another training is at work on it; wait or choose another --out."
            ) from error
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Sessions that cannot be trained on must not stand in the way of the next command, which has others.
        refused = isinstance(error, TrainingDataError) and not (self.folder / STATE_FILE).exists()
        if refused or not self.holds_sessions:
            self.remove()
        self._lock.close()

    @property
    def holds_sessions(self) -> bool:
        """Whether a training began here and was not finished."""
        return (self.folder / ASKED_FILE).exists()

    def require_same(self, asked: Mapping[str, Any]) -> None:
        """Raise CheckpointError naming the first thing that the interrupted training was asked differently."""
        try:
            before = json.loads((self.folder / ASKED_FILE).read_text())
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        for name, now in json.loads(json.dumps(asked)).items():
            if before.get(name) != now:
                raise CheckpointError(
                    f"{self.folder}: an interrupted training with other {name} ({_short(before.get(name))}, now "
                    f"{_short(now)}); repeat its command to go on, or give --restart to begin anew."
                )

    def begin(self, asked: Mapping[str, Any], log: SessionLog) -> None:
        """Keep what was asked for and the sessions."""
        batch = log.batch()
        try:
            part = self.folder / f"{SESSIONS_FILE}.part"
            with part.open("wb") as file:
                np.savez(
                    file,
                    events=batch.events,
                    lengths=log.lengths,
                    key=log.key,
                    merchant=log.merchant,
                    merchants=np.array(log.merchants, np.str_),
                )
            part.replace(self.folder / SESSIONS_FILE)
            # The last: a folder without it holds nothing to go on from.
            self._write(ASKED_FILE, json.dumps(asked, indent=2).encode())
        except OSError as error:
            raise self._unwritable(error) from error

    def sessions(self) -> SessionLog:
        """Return the sessions that ``begin`` kept."""
        try:
            with np.load(self.folder / SESSIONS_FILE, allow_pickle=False) as kept:
                lengths = kept["lengths"]
                starts = np.cumsum(lengths) - lengths
                names = tuple(str(name) for name in kept["merchants"])
                return SessionLog(kept["events"], starts, lengths, kept["key"], kept["merchant"], names)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise self._unreadable(error) from error

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep the state after a whole epoch; a kill meanwhile leaves the one before."""
        part = self.folder / f"{STATE_FILE}.part"
        try:
            with part.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / STATE_FILE)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
            raise self._unwritable(error) from error

    def state(self) -> dict[str, Any] | None:
        """Return the state last saved, None before the end of the first epoch."""
        path = self.folder / STATE_FILE
        if not path.exists():
            return None
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, ValueError, RuntimeError, UnpicklingError) as error:
            raise self._unreadable(error) from error

    def forget(self) -> None:
        """Drop the interrupted training, to begin anew."""
        for name in (ASKED_FILE, STATE_FILE, SESSIONS_FILE):  # this order: what is half gone is nothing
            (self.folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder: the artefact is written, or nothing worth keeping was begun."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, content: bytes) -> None:
        part = self.folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(self.folder / name)

    def _unwritable(self, error: Exception) -> CheckpointError:
        reason = getattr(error, "strerror", None) or error
        return CheckpointError(f"{self.folder}: the training's checkpoint cannot be written ({reason}).")

    def _unreadable(self, error: Exception) -> CheckpointError:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return CheckpointError(f"{self.folder}: damaged ({first}); give --restart to begin anew.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
