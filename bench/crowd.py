"""Live traffic made from a log: its sessions as they are, only begun close together and played somewhat faster.

A log of two days at a few events per second has its shoppers one after another. Here as many of the same sessions run
at the same time as it takes for the wanted rate, each by a client of its own, so that one shopper's clicks are seconds
apart as in real traffic while the whole site is as busy as asked for.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.event_log import TIMESTAMP, EventLogWriter
from schemas.events import I64

#: Rows made at once.
_ROWS = 131_072
#: Any moment: a replay shifts the times to now.
_BEGIN_MS = 1_735_000_000_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """What traffic to make.

    events_per_s    the rate, the same from the first second to the last
    seconds         how long it goes on, in event time and so in wall time
    speed_up        how much faster than in the log a shopper clicks
    delay_speed_up  how much shorter than in the log events are under way
    name            ends the client ids, so that several crowds can come to the same shops
    """

    events_per_s: float
    seconds: float
    speed_up: float
    delay_speed_up: float
    name: str
    seed: int


def make_crowd(log: Path, gap_ms: int, crowd: Crowd, out: Path) -> int:
    """Write the event log of a crowd, ordered by event time, and return its number of events.

    The sessions of ``log``, cut at gaps longer than ``gap_ms``, begin at random moments, some before the first: drawn
    with a chance that grows with their length, as whoever looks at a shop for a while meets long visits more often.
    What lies outside of the time asked for is left out.
    """
    table = pq.read_table(log)
    order, starts = _sessions(table, gap_ms)
    occurred_ms, received_ms = _ms(table, "occurred_at")[order], _ms(table, "received_at")[order]
    first_ms = occurred_ms[starts[:-1]]
    length_ms = (occurred_ms[starts[1:] - 1] - first_ms) / crowd.speed_up
    end_ms = 1_000.0 * crowd.seconds

    random = np.random.default_rng(crowd.seed)
    seen_ms = length_ms + end_ms
    begun_per_ms = crowd.events_per_s / 1_000 / (len(table) / len(length_ms))
    drawn = random.choice(len(length_ms), size=round(begun_per_ms * seen_ms.mean()), p=seen_ms / seen_ms.sum())
    begin_ms = random.uniform(-length_ms[drawn], end_ms)

    counts = starts[drawn + 1] - starts[drawn]
    visit = np.repeat(np.arange(len(drawn)), counts)
    row = np.repeat(starts[drawn] - (np.cumsum(counts) - counts), counts) + np.arange(len(visit))
    at_ms = begin_ms[visit] + (occurred_ms[row] - first_ms[drawn[visit]]) / crowd.speed_up
    arrives_ms = at_ms + (received_ms[row] - occurred_ms[row]) / crowd.delay_speed_up
    keep = np.flatnonzero((at_ms >= 0) & (np.maximum(at_ms, arrives_ms) < end_ms))
    keep = keep[np.argsort(at_ms[keep], kind="stable")]

    with EventLogWriter(out) as writer:
        for part in np.array_split(keep, max(1, len(keep) // _ROWS)):
            rows = table.take(pa.array(order[row[part]]))
            suffix = pa.array(np.char.add(f"{crowd.name}-", visit[part].astype(np.str_)))
            for name, values in (
                ("occurred_at", _timestamps(at_ms[part])),
                ("received_at", _timestamps(arrives_ms[part])),
                ("client_id", pc.binary_join_element_wise(rows.column("client_id"), suffix, "-")),
                ("event_id", pc.binary_join_element_wise(rows.column("event_id"), suffix, "-")),
            ):
                rows = rows.set_column(rows.schema.get_field_index(name), name, values)
            writer.write(rows)
    return len(keep)


def _sessions(table: pa.Table, gap_ms: int) -> tuple[I64, I64]:
    """Return rows sorted by session and time, and where in them each of the ``s`` sessions starts, (s + 1,)."""
    names = pc.binary_join_element_wise(table.column("merchant_id"), table.column("client_id"), "|")
    client = np.asarray(names.combine_chunks().dictionary_encode().indices, dtype=np.int64)
    at_ms = _ms(table, "occurred_at")
    order = np.lexsort((at_ms, client))
    begins = (np.diff(client[order]) != 0) | (np.diff(at_ms[order]) > gap_ms)
    return order, np.concatenate([[0], np.flatnonzero(begins) + 1, [len(order)]])


def _ms(table: pa.Table, name: str) -> I64:
    return np.asarray(pc.cast(table.column(name), pa.int64()), dtype=np.int64)


def _timestamps(at_ms: np.ndarray) -> pa.Array:
    return pa.array(np.floor(at_ms).astype(np.int64) + _BEGIN_MS).cast(TIMESTAMP)
