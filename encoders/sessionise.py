"""Whole event logs cut into sessions at once, for training.

The live path and ``assign`` cut sessions with the stream's own windows; training only needs the plain rule (a pause
longer than the gap starts a new session) over events that are all there already, so it is one sort and a comparison.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from encoders.errors import TrainingDataError
from encoders.event_log import read_batches, to_event_batch
from schemas.events import FLAG_BOT, I32, I64, U64, EventBatch, Events, SessionBatch

#: A session of at least this many events with a median pause under this is a machine's; it would teach nothing of
#: shoppers. (The edge's own mark counts as well.)
BOT_EVENTS, BOT_MEDIAN_GAP_MS = 30, 500


@dataclass(frozen=True, slots=True)
class SessionLog:
    """``n`` sessions of known buyers, ordered by (key, start).

    events   (total,) EVENT; starts, lengths  (n,) int64: session i is ``events[starts[i]:starts[i] + lengths[i]]``
    key      (n,) uint64, hash of merchant and client: the buyer
    merchant (n,) int32, index into ``merchants``
    """

    events: Events
    starts: I64
    lengths: I64
    key: U64
    merchant: I32
    merchants: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def select(self, rows: npt.NDArray[np.bool_] | I64) -> "SessionLog":
        """Return only these sessions; the events are shared, not copied."""
        return SessionLog(
            self.events, self.starts[rows], self.lengths[rows], self.key[rows], self.merchant[rows], self.merchants
        )

    def limit(self, sessions: int, seed: int) -> "SessionLog":
        """Return whole buyers, chosen by seed, with at most ``sessions`` sessions together.

        A buyer who no longer fits is passed over: one of many sessions must not end the choice.
        """
        if len(self) <= sessions:
            return self
        buyers, of_row, counts = np.unique(self.key, return_inverse=True, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(buyers))
        chosen = np.zeros(len(buyers), bool)
        room, left = sessions, order
        while len(left := left[counts[left] <= room]):
            taken = left[: np.searchsorted(np.cumsum(counts[left]), room, side="right")]
            chosen[taken] = True
            room -= int(counts[taken].sum())
            left = left[len(taken) :]
        return self.select(chosen[of_row])

    def batch(self) -> SessionBatch:
        """Return the sessions as the encoder takes them, events copied one session after another."""
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])
        places = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.starts, self.lengths)
        return SessionBatch(self.events[places], offsets)


def read_sessions(
    paths: Sequence[Path], gap_ms: int, max_events: int, progress: Callable[[int], None] = lambda _: None
) -> SessionLog:
    """Read event logs and cut them into sessions. ``progress`` is told the number of rows of every batch read.

    Raises EventLogError on a bad log and TrainingDataError when no usable event is in it. Memory: about 50 bytes an
    event.
    """
    events: list[Events] = []
    keys: list[U64] = []
    merchant_of: list[I32] = []
    index: dict[str, int] = {}
    for record_batch in read_batches(paths):
        batch = to_event_batch(record_batch)
        usable = batch.fault == 0
        events.append(_effective(batch)[usable])
        keys.append(batch.key_hash[usable])
        dictionary = pc.dictionary_encode(record_batch.column("merchant_id"))
        places = np.array([index.setdefault(name, len(index)) for name in dictionary.dictionary.to_pylist()], np.int32)
        merchant_of.append(places[dictionary.indices.to_numpy(zero_copy_only=False)][usable])
        progress(len(batch))
    if not sum(map(len, events)):
        raise TrainingDataError(f"{', '.join(map(str, paths))}: no usable event; see `simpersona import` for why.")
    return cut_sessions(
        np.concatenate(events), np.concatenate(keys), np.concatenate(merchant_of), tuple(index), gap_ms, max_events
    )


def sessions_of(batches: Iterable[EventBatch], gap_ms: int, max_events: int) -> SessionLog:
    """Cut decoded events, in whatever order they came, into sessions; unusable ones are left out."""
    events: list[Events] = []
    keys: list[U64] = []
    merchant_of_key: dict[int, int] = {}
    index: dict[str, int] = {}
    for batch in batches:
        usable = batch.fault == 0
        events.append(_effective(batch)[usable])
        keys.append(batch.key_hash[usable])
        found, first = np.unique(keys[-1], return_index=True)
        for key, row in zip(found.tolist(), np.flatnonzero(usable)[first].tolist(), strict=True):
            if key not in merchant_of_key:
                merchant_of_key[key] = index.setdefault(batch.merchant(row), len(index))
    joined = np.concatenate(keys)
    found, place = np.unique(joined, return_inverse=True)
    merchants = np.array([merchant_of_key[key] for key in found.tolist()], np.int32)
    return cut_sessions(np.concatenate(events), joined, merchants[place], tuple(index), gap_ms, max_events)


def _effective(batch: EventBatch) -> Events:
    """Return the events timed as the stream times them: never later than they were received."""
    events = batch.events.copy()
    events["t"] = np.minimum(events["t"], batch.received_ms)
    return events


def cut_sessions(
    events: Events, key: U64, merchant: I32, merchants: tuple[str, ...], gap_ms: int, max_events: int
) -> SessionLog:
    """Cut events of any order into sessions: same key, no pause over ``gap_ms``, at most ``max_events``.

    An event id that comes again in a row (a retry) counts once; sessions made by bots are left out.
    """
    order = np.lexsort((events["id"], events["t"], key))
    events, key, merchant = events[order], key[order], merchant[order]
    again = np.zeros(len(events), bool)
    again[1:] = (key[1:] == key[:-1]) & (events["id"][1:] == events["id"][:-1]) & (events["t"][1:] == events["t"][:-1])
    events, key, merchant = events[~again], key[~again], merchant[~again]

    first = np.ones(len(events), bool)
    first[1:] = (key[1:] != key[:-1]) | (events["t"][1:] - events["t"][:-1] > gap_ms)
    run_starts = np.flatnonzero(first)
    place_in_run = np.arange(len(events)) - np.repeat(run_starts, np.diff(run_starts, append=len(events)))
    starts = np.flatnonzero(place_in_run % max_events == 0)
    lengths = np.diff(starts, append=len(events))
    log = SessionLog(events, starts, lengths, key[starts], merchant[starts], merchants)
    return log.select(~_bots(log))


def _bots(log: SessionLog) -> npt.NDArray[np.bool_]:
    marked = np.logical_or.reduceat((log.events["flags"] & FLAG_BOT) != 0, log.starts)
    for row in np.flatnonzero(log.lengths >= BOT_EVENTS):
        times = log.events["t"][log.starts[row] : log.starts[row] + log.lengths[row]]
        marked[row] |= bool(np.median(np.diff(times)) < BOT_MEDIAN_GAP_MS)
    return np.asarray(marked, bool)
