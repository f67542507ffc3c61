"""Traces to learn from: real sessions as actions, each with its buyer type and its storefront's flags.

An event log says what happened, the assignments (``simpersona assign``) say which events are one session and what type
its buyer is; the two are joined by client and time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agent_runtime.errors import TraceError
from agent_runtime.traces.retrace import Steps, retrace
from agent_runtime.vocabulary import MAX_EVENTS, Tokens, Vocabulary
from encoders.event_log import read_batches, to_event_batch
from schemas.events import I32, I64, U64, Events, SessionBatch
from schemas.hashing import KEY_SEPARATOR, hash64

#: Share of the assigned sessions that must be found whole in the events; less means that the files do not belong
#: together. Not all: a late event may have been left out of its session.
FOUND_SHARE = 0.9

_COLUMNS = ("merchant_id", "client_id", "started_at", "ended_at", "events", "code", "codebook_version", "is_bot")


@dataclass(frozen=True, slots=True)
class Traces:
    """``n`` real sessions.

    code (n,) int32; merchant (n,) int32, index into ``merchants``; buyer (n,) uint64, hash of merchant and client
    """

    steps: Steps
    code: I32
    merchant: I32
    buyer: U64
    merchants: tuple[str, ...]
    codebook_version: str

    def __len__(self) -> int:
        return len(self.code)

    def select(self, rows: I64) -> "Traces":
        """Return only these sessions."""
        return replace(
            self,
            steps=self.steps.select(rows),
            code=self.code[rows],
            merchant=self.merchant[rows],
            buyer=self.buyer[rows],
        )

    def of_other_session(self, seed: int) -> "Traces":
        """Return the sessions of buyers with several, each with the type of another of theirs, drawn by ``seed``.

        What a model is taught that has to know buyers by earlier visits.
        """
        order = np.argsort(self.buyer, kind="stable")
        _, first, counts = np.unique(self.buyer[order], return_index=True, return_counts=True)
        start, count = np.repeat(first, counts), np.repeat(counts, counts)
        place = np.flatnonzero(count > 1)
        step = np.random.default_rng(seed).integers(1, count[place])
        other = start[place] + (place - start[place] + step) % count[place]
        return replace(self.select(order[place]), code=self.code[order[other]])

    def weights(self) -> npt.NDArray[np.float64]:
        """Return what each session counts for in a training, (n,), 1 on the mean.

        A merchant counts by the square root of its sessions, or the largest would drown what is true of all the others.
        """
        own = np.bincount(self.merchant, minlength=len(self.merchants))[self.merchant]
        return np.asarray(own**-0.5 / np.mean(own**-0.5))

    def untyped(self) -> "Traces":
        """Return the traces as a model without persona tokens is taught: everybody is of one type."""
        return replace(self, code=np.zeros_like(self.code))


@dataclass(frozen=True, slots=True)
class _Assigned:
    """Final sessions to find: ``key`` (n,) uint64, ``start``, ``end`` (n,) int64 ms, ``events`` and ``code`` (n,)."""

    key: U64
    start: I64
    end: I64
    events: I64
    code: I32
    merchant: I32
    merchants: tuple[str, ...]
    codebook_version: str


def read_traces(
    events: Sequence[Path],
    assignments: Path,
    limit_sessions: int,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Traces:
    """Return the assigned sessions as traces, bots left out.

    At most ``limit_sessions`` of them, drawn at random by ``seed``. ``progress`` is told the rows of every batch read.
    Memory: about 60 bytes an event of the chosen sessions' clients. Raises TraceError when the assignments are no
    such file, mix codebooks, are empty, or were made from other events; EventLogError on a bad log.
    """
    wanted = _read_assignments(assignments, limit_sessions, seed)
    clients = np.unique(wanted.key)
    chosen: list[Events] = []
    ranks: list[I64] = []
    for record_batch in read_batches(events):
        batch = to_event_batch(record_batch)
        rank = np.searchsorted(clients, batch.key_hash)
        rank[rank == len(clients)] = 0
        rows = (clients[rank] == batch.key_hash) & (batch.fault == 0)
        kept = batch.events[rows]
        kept["t"] = np.minimum(kept["t"], batch.received_ms[rows])
        chosen.append(kept)
        ranks.append(rank[rows])
        progress(len(batch))
    sessions, found = _find(np.concatenate(chosen), np.concatenate(ranks), clients, wanted)
    if found.mean() < FOUND_SHARE:
        raise TraceError(
            f"{assignments}: only {found.mean():.0%} of its sessions are in the events; "
            "run `simpersona assign` on the same event log."
        )
    return Traces(
        retrace(sessions),
        wanted.code[found],
        wanted.merchant[found],
        wanted.key[found],
        wanted.merchants,
        wanted.codebook_version,
    )


def _read_assignments(path: Path, limit: int, seed: int) -> _Assigned:
    try:
        found = pq.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in found]
        if missing:
            raise TraceError(
                f"{path}: no assignments, missing {', '.join(missing)}; make them with `simpersona assign`."
            )
        table = pq.read_table(path, columns=list(_COLUMNS))
    except FileNotFoundError as error:
        raise TraceError(f"{path}: there is no such file; make assignments with `simpersona assign`.") from error
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path}: no assignments ({error}); make them with `simpersona assign`.") from error
    table = table.filter(pc.and_(pc.invert(table.column("is_bot")), pc.greater_equal(table.column("code"), 0)))
    versions = pc.unique(table.column("codebook_version")).to_pylist()
    if not len(table):
        raise TraceError(f"{path}: no session of a shopper; assign a longer event log.")
    if len(versions) > 1:
        raise TraceError(f"{path}: made by several codebooks ({', '.join(map(str, versions))}); assign with one.")
    if len(table) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(table), limit, replace=False))
        table = table.take(pa.array(rows))
    merchants = pc.dictionary_encode(table.column("merchant_id")).combine_chunks()
    names = pc.binary_join_element_wise(
        table.column("merchant_id"), table.column("client_id"), chr(int(KEY_SEPARATOR))
    ).to_pylist()
    key = np.array([hash64(name.encode()) for name in names], np.uint64)
    return _Assigned(
        key=key,
        start=_column(table, "started_at"),
        end=_column(table, "ended_at"),
        events=_column(table, "events"),
        code=_column(table, "code").astype(np.int32),
        merchant=merchants.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        merchants=tuple(merchants.dictionary.to_pylist()),
        codebook_version=str(versions[0]),
    )


def _column(table: pa.Table, name: str) -> I64:
    column = table.column(name)
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("ms", tz="UTC"))
    values: I64 = pc.cast(column, pa.int64()).to_numpy()
    return values


def _find(events: Events, rank: I64, clients: U64, wanted: _Assigned) -> tuple[SessionBatch, npt.NDArray[np.bool_]]:
    """Return the wanted sessions' events, retries taken out, and which sessions were found whole."""
    if not len(events):
        return SessionBatch(events, np.zeros(1, np.int64)), np.zeros(len(wanted.key), bool)
    order = np.lexsort((events["id"], events["t"], rank))
    events, rank = events[order], rank[order]
    again = np.zeros(len(events), bool)
    again[1:] = (rank[1:] == rank[:-1]) & (events["id"][1:] == events["id"][:-1]) & (np.diff(events["t"]) == 0)
    events, rank = events[~again], rank[~again]
    # One sortable number per event: client first, then time.
    origin = min(int(events["t"].min()), int(wanted.start.min()))
    span = max(int(events["t"].max()), int(wanted.end.max())) - origin + 2
    place = rank * span + (events["t"] - origin)
    client = np.searchsorted(clients, wanted.key)
    first = np.searchsorted(place, client * span + (wanted.start - origin), side="left")
    end = np.searchsorted(place, client * span + (wanted.end - origin), side="right")
    found = (end > first) & (np.abs(end - first - wanted.events) <= np.maximum(1, wanted.events // 10))
    first, lengths = first[found], (end - first)[found]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - first, lengths)
    return SessionBatch(events[rows], offsets), found


def token_rows(traces: Traces, vocabulary: Vocabulary, flags: Sequence[tuple[int, ...]]) -> list[Tokens]:
    """Return every trace as token ids, (length,) int64 each, as ``Vocabulary`` describes.

    ``flags[m]`` are the storefront flags of merchant ``m``. A session cut at ``MAX_EVENTS`` has no <leave>.
    """
    steps = traces.steps
    prompts = {
        (int(merchant), int(code)): vocabulary.prompt(flags[merchant], int(code))
        for merchant, code in np.unique(np.stack([traces.merchant, traces.code], axis=1), axis=0)
    }
    action_at, pace_at = vocabulary.ranges["action"][0], vocabulary.ranges["pace"][0]
    traits = np.stack(
        [
            steps.device.astype(np.int64) + vocabulary.ranges["device"][0],
            steps.referrer.astype(np.int64) + vocabulary.ranges["referrer"][0],
            steps.moment.astype(np.int64) + vocabulary.ranges["moment"][0],
        ],
        axis=1,
    )
    rows = []
    for row in range(len(traces)):
        first, end = int(steps.offsets[row]), int(steps.offsets[row + 1])
        kept = min(end - first, MAX_EVENTS)
        moves = np.empty(2 * kept, np.int64)
        moves[0::2] = steps.action[first : first + kept].astype(np.int64) + action_at
        moves[1::2] = steps.pace[first : first + kept].astype(np.int64) + pace_at
        rest = [vocabulary.leave] if end - first == kept else []
        prompt = prompts[int(traces.merchant[row]), int(traces.code[row])]
        rows.append(np.concatenate([prompt, traits[row], moves[:1], moves[2:], rest]).astype(np.int64))
    return rows
