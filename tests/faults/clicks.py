"""The log that every fault is tried on, with what the offline pass says about it: made once, shared by all tests.

A tenth of the events come twice, a fifth out of order, one in a hundred too late; some clients' clocks are wrong, some
clients are bots, some payloads cannot be read.
"""

import fcntl
import json
import os
import pickle
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.artefact import read_manifest
from encoders.event_log import EventLogWriter
from encoders.generator.delivery import Faults
from encoders.generator.malformed import malformed_path, read_malformed
from encoders.generator.run import GeneratorRun, generate
from schemas.settings import Settings
from streams.event_logs.click_records import ClickWriter
from tests.untrained import write_untrained

#: Events of the log, roughly; a longer log makes every fault last longer.
EVENTS = int(os.environ.get("SIMPERSONA_FAULT_EVENTS", "40000"))
#: Events that one buyer of the generator makes in this many hours, second copies included.
HOURS, EVENTS_PER_BUYER = 30.0, 24.0
MERCHANTS = 6
START_MS = 1_788_000_000_000
#: One client in so many has a clock that is ahead, another one a clock that is behind, by up to so much.
SKEWED, AHEAD_MS, BEHIND_MS = 33, 600_000, 200_000

#: A row of ``session_assignments`` under its merchant and session, without ``inserted_at``.
Key = tuple[str, str]
Rows = Mapping[Key, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Clicks:
    """What is sent and what must come of it.

    events      the event log, as `assign` reads it; encoders  two encoders, by codebook version
    records     key and value of everything sent, malformed payloads included, in the order of receipt
    reason_of   the payloads that must be rejected, with the reason
    offline     the rows of `simpersona assign`, by codebook version
    last_ms     the latest time in the log
    """

    events: Path
    encoders: Mapping[str, Path]
    records: Sequence[tuple[bytes, bytes]]
    reason_of: Mapping[bytes, str]
    offline: Mapping[str, Rows]
    last_ms: int

    @property
    def encoder(self) -> Path:
        """The encoder of all workers but those of an upgrade."""
        return next(iter(self.encoders.values()))


def shared_clicks(folder: Path) -> Clicks:
    """Return the log of a folder, made by the first process that asks."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "clicks.pickle"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_bytes(pickle.dumps(_make(folder)))
    clicks: Clicks = pickle.loads(made.read_bytes())
    return clicks


def rows_by_key(table: pa.Table) -> Rows:
    """Return a table of assignments as rows by merchant and session."""
    rows = (tuple(row.values()) for row in table.to_pylist())
    return {row[:2]: row[2:] for row in rows}


def _make(folder: Path) -> Clicks:
    events = folder / "events.parquet"
    run = GeneratorRun(
        merchants=MERCHANTS, buyers=round(EVENTS / MERCHANTS / EVENTS_PER_BUYER), hours=HOURS, seed=4,
        start_ms=START_MS, bots=0.01, malformed=0.002, faults=Faults(delayed=0.2, late=0.01, duplicated=0.1),
    )  # fmt: skip
    generate(run, events, folder / "truth.parquet", lambda done, total: None)
    log = _skewed(pq.read_table(events))
    with EventLogWriter(events) as writer:
        writer.write(log)
    encoders = {read_manifest(path).codebook_version: path for path in _encoders(folder)}
    rows = {version: _assign(events, path, folder / f"{version}.parquet") for version, path in encoders.items()}
    times = np.stack([_ms(log, "occurred_at"), _ms(log, "received_at")])
    values = ClickWriter(1).records(log.combine_chunks().to_batches()[0])
    with malformed_path(events).open() as lines:
        malformed = list(read_malformed(lines))
    received = np.concatenate([times[1], [record.received_ms for record in malformed]])
    records = [*zip(values.keys, values.values, strict=True), *((record.key, record.value) for record in malformed)]
    late = np.flatnonzero(times[1] - times[0] > Settings().allowed_lateness_ms)
    return Clicks(
        events=events,
        encoders=encoders,
        records=[records[row] for row in np.argsort(received, kind="stable")],
        reason_of={record.value: record.reason for record in malformed} | {values.values[row]: "late" for row in late},
        offline=rows,
        last_ms=int(times.max()),
    )


def _encoders(folder: Path) -> list[Path]:
    return [write_untrained(folder / f"encoder-{seed}", seed) for seed in (0, 1)]


def _skewed(log: pa.Table) -> pa.Table:
    """Return the log with some clients' clocks moved, sorted by the events' own time again."""
    clients = log.column("client_id").to_pylist()
    by_client = {client: _skew_ms(zlib.crc32(client.encode())) for client in set(clients)}
    occurred = _ms(log, "occurred_at") + np.array([by_client[client] for client in clients])
    at = log.schema.get_field_index("occurred_at")
    moved = log.set_column(
        at, log.schema.field(at), pa.chunked_array([pa.array(occurred).cast(log.schema.field(at).type)])
    )
    return moved.take(pa.array(np.argsort(occurred, kind="stable")))


def _skew_ms(draw: int) -> int:
    if draw % SKEWED == 0:
        return draw // SKEWED % AHEAD_MS
    return -(draw // SKEWED % BEHIND_MS) if draw % SKEWED == 1 else 0


def _ms(log: pa.Table, column: str) -> np.ndarray:
    return log.column(column).cast(pa.int64()).to_numpy()


def _assign(events: Path, encoder: Path, out: Path) -> Rows:
    """Run `simpersona assign` as a user would."""
    command = ["assign", "--events", str(events), "--encoder", str(encoder), "--out", str(out), "--json"]
    done = subprocess.run([sys.executable, "-m", "infra.cli.main", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = rows_by_key(pq.read_table(out))
    assert len(rows) == json.loads(done.stdout)["sessions"]
    return rows
