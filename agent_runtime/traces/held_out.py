"""Storefronts to be judged on: each merchant's sessions cut at the middle of its log, into a past and a future half.

Everything a simulation may know of a merchant comes from the past: its mix, its storefront, its adapter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from agent_runtime.errors import TraceError
from agent_runtime.storefront.shop import Shop, observe_shops
from agent_runtime.traces.behaviour import Behaviour, of_steps
from agent_runtime.traces.retrace import retrace
from agent_runtime.traces.traces import Traces
from agent_runtime.walk.rollout import Span
from encoders.event_log import EventLogWriter, read_batches
from encoders.serving import Encoder
from encoders.sessionise import SessionLog, read_sessions
from schemas.events import I64

#: The copy of the past halves in ``read_held_out``'s scratch folder.
PAST_FILE = "past.parquet"


@dataclass(frozen=True, slots=True)
class Recorded:
    """``n`` real sessions: as events, as traces with their buyer types, and as behaviour."""

    log: SessionLog
    traces: Traces
    behaviour: Behaviour

    def __len__(self) -> int:
        return len(self.traces)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One storefront. ``shop`` is what the past half shows of it; ``span`` is when the future half's sessions begin."""

    shop: Shop
    past: Recorded
    future: Recorded
    span: Span

    @property
    def merchant_id(self) -> str:
        """The merchant's id."""
        return self.shop.merchant_id


def record(log: SessionLog, encoder: Encoder) -> Recorded:
    """Return sessions with the types that the encoder gives them."""
    batch = log.batch()
    steps, codes = retrace(batch), encoder.encode(batch).code
    times = log.events["t"]
    dwell_s = (times[log.starts + log.lengths - 1] - times[log.starts]) / 1000.0
    traces = Traces(steps, codes, log.merchant, log.key, log.merchants, encoder.version)
    return Recorded(log, traces, of_steps(steps, dwell_s))


def read_held_out(
    events: Sequence[Path],
    encoder: Encoder,
    gap_ms: int,
    max_events: int,
    least_sessions: int,
    scratch: Path,
    progress: Callable[[int], None] = lambda _: None,
    cuts: Mapping[str, int] | None = None,
) -> list[HeldOut]:
    """Return the storefronts of event logs that have at least ``least_sessions`` sessions, ordered by merchant id.

    cuts  merchant -> when its future begins (Unix ms), instead of the median start of its sessions

    ``scratch`` is an existing folder for a copy of the past halves. ``progress`` is told the rows of every batch read.
    Raises EventLogError or TrainingDataError on a bad log, TraceError when no merchant has enough sessions.
    """
    log = read_sessions(events, gap_ms, max_events, progress)
    starts = log.events["t"][log.starts]
    sessions = np.bincount(log.merchant, minlength=len(log.merchants))
    places = np.flatnonzero(sessions >= least_sessions)
    if not len(places):
        raise TraceError(
            f"{', '.join(map(str, events))}: no merchant has {least_sessions:,} sessions (the most is "
            f"{int(sessions.max(initial=0)):,}); give a longer log or lower --least-sessions."
        )
    splits = {log.merchants[place]: int(np.median(starts[log.merchant == place])) for place in places}
    splits |= {merchant: cut for merchant, cut in (cuts or {}).items() if merchant in splits}
    past_log = _past_events(events, splits, scratch / PAST_FILE)
    shops = {shop.merchant_id: shop for shop in observe_shops([past_log], gap_ms)}
    found = []
    for place in places:
        merchant, own = log.merchants[place], log.merchant == place
        if merchant in shops:
            split = splits[merchant]
            past, future = (_alone(log.select(own & side), merchant) for side in (starts < split, starts >= split))
            span = Span(split, int(starts[own].max()) + 1)
            found.append(HeldOut(shops[merchant], record(past, encoder), record(future, encoder), span))
    return sorted(found, key=lambda one: one.merchant_id)


def earlier_sessions(past: SessionLog, future: SessionLog) -> tuple[I64, I64, I64]:
    """Return (first, end, rows): rows of the future whose buyer came before, and between which past rows theirs lie."""
    # both are ordered by (key, start): a buyer's past rows are neighbours, the last of them the latest
    first = np.searchsorted(past.key, future.key, side="left")
    end = np.searchsorted(past.key, future.key, side="right")
    rows = np.flatnonzero(end > first)
    return first[rows], end[rows], rows


def _alone(log: SessionLog, merchant: str) -> SessionLog:
    """Return one merchant's sessions with their own events only, so that they can be handed to another process."""
    batch = log.batch()
    return SessionLog(batch.events, batch.offsets[:-1], log.lengths, log.key, np.zeros(len(log), np.int32), (merchant,))


def _past_events(events: Sequence[Path], splits: dict[str, int], path: Path) -> Path:
    """Write the events of each merchant before its split time."""
    names = pa.array(list(splits))
    limits = np.array(list(splits.values()), np.int64)
    with EventLogWriter(path) as writer:
        for batch in read_batches(events):
            place = pc.index_in(batch.column("merchant_id"), names).fill_null(-1).to_numpy(zero_copy_only=False)
            times = pc.cast(batch.column("occurred_at"), pa.int64()).to_numpy()
            before: npt.NDArray[np.bool_] = (place >= 0) & (times < limits[np.maximum(place, 0)])
            writer.write(pa.Table.from_batches([batch]).filter(pa.array(before)))
    return path
