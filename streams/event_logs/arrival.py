"""The order and the moment in which logged events come in again: by the time they happened or were received."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import I64

Order = Literal["occurred", "received"]


def times_ms(batch: pa.RecordBatch, order: Order) -> I64:
    """Return the (n,) times that a batch is ordered by, in milliseconds."""
    column = pc.cast(batch.column(f"{order}_at"), pa.int64())
    return np.asarray(column.to_numpy(), dtype=np.int64)


def by_received(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the events of a log that is sorted by ``occurred_at`` in the order in which they were received.

    Events received at the same moment keep the log's order. Memory holds a batch and the events still under way, so
    it is bounded by the longest delay. An event received before it occurred (a client's clock runs ahead) comes when
    the log reaches it.
    """
    waiting: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        waiting = table if waiting is None else pa.concat_tables([waiting, table])
        received_ms = pc.cast(waiting.column("received_at"), pa.int64()).to_numpy()
        # Nothing that follows occurred before the last event here, so nothing that follows was received before it.
        frontier_ms = times_ms(batch, "occurred")[-1]
        order = np.argsort(received_ms, kind="stable")
        done = int(np.searchsorted(received_ms[order], frontier_ms, side="left"))
        if done:
            yield from _batches(waiting.take(order[:done]))
            waiting = waiting.take(np.sort(order[done:]))
    if waiting is not None and waiting.num_rows:
        received_ms = pc.cast(waiting.column("received_at"), pa.int64()).to_numpy()
        yield from _batches(waiting.take(np.argsort(received_ms, kind="stable")))


def shifted(batch: pa.RecordBatch, shift_ms: int) -> pa.RecordBatch:
    """Return the batch with ``shift_ms`` added to both times of every event."""
    if shift_ms == 0:
        return batch
    columns = list(batch.columns)
    for name in ("occurred_at", "received_at"):
        at = batch.schema.get_field_index(name)
        moved = pc.add(pc.cast(columns[at], pa.int64()), shift_ms)
        columns[at] = pc.cast(moved, batch.schema.field(at).type)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


@dataclass(frozen=True, slots=True)
class Pace:
    """When an event is due. ``speed`` is event time per wall time, None for as fast as it goes.

    first_ms  the time of the first event; start_s  the wall clock (any origin) at which that event is due
    """

    speed: float | None
    first_ms: int
    start_s: float

    def due_s(self, t_ms: I64) -> npt.NDArray[np.float64]:
        """Return the (n,) wall clock seconds at which events of these times are due."""
        if self.speed is None:
            return np.full(len(t_ms), self.start_s)
        return np.asarray(self.start_s + (t_ms - self.first_ms) / 1000.0 / self.speed)


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from table.combine_chunks().to_batches()
