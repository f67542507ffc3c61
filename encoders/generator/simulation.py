"""Runs visits in order of their start and hands out events in order of their time, a bounded number at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from encoders.generator import bots, shopper
from encoders.generator.raw_events import RAW_EVENT, RawEvents
from encoders.generator.visits import Visits
from encoders.generator.world import World
from schemas.events import I32, I64

#: Visits simulated at once: about 100 k events.
SLICE_VISITS = 10_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Events up to a moment that no later slice goes behind, and how the slice's own visits went.

    events     RAW_EVENT, sorted by (t_ms, visit, sequence)
    first, last  the visits [first, last) that were simulated in this slice
    ended_ms   (last - first,) time of each visit's last event; counts (last - first,) its number of events
    bought     (last - first,) whether it completed a checkout
    """

    events: RawEvents
    first: int
    last: int
    ended_ms: I64
    counts: I32
    bought: npt.NDArray[np.bool_]


def simulate(
    visits: Visits, world: World, habits: npt.NDArray[np.void], slice_visits: int = SLICE_VISITS
) -> Iterator[Slice]:
    """Yield the events of all visits as slices whose concatenation is sorted by (t_ms, visit, sequence).

    ``visits`` must be sorted by ``start_ms``; how many are simulated at once changes nothing but the cuts. Memory is
    bounded by them and by the visits open at one time, not by the run.
    """
    waiting = np.empty(0, dtype=RAW_EVENT)
    for first in range(0, len(visits), slice_visits):
        last = min(first + slice_visits, len(visits))
        fresh, ended_ms, counts, bought = _run(visits, first, last, world, habits)
        events = np.concatenate([waiting, fresh])
        events = events[np.lexsort((events["sequence"], events["visit"], events["t_ms"]))]
        complete = len(events)
        if last < len(visits):
            complete = int(np.searchsorted(events["t_ms"], visits["start_ms"][last], side="left"))
        waiting = events[complete:].copy()
        yield Slice(events[:complete], first, last, ended_ms, counts, bought)


def _run(
    visits: Visits, first: int, last: int, world: World, habits: npt.NDArray[np.void]
) -> tuple[RawEvents, I64, I32, npt.NDArray[np.bool_]]:
    ended_ms = np.zeros(last - first, dtype=np.int64)
    counts = np.zeros(last - first, dtype=np.int32)
    bought = np.zeros(last - first, dtype=np.bool_)
    buffers = []
    done = first
    room = np.empty(64 * 1024, dtype=RAW_EVENT)
    while done < last:
        done, rows = _fill(
            visits, done, last, world.shops, world.shelves, world.products, world.promotions, habits, room,
            ended_ms, counts, bought, first,
        )  # fmt: skip
        buffers.append(room[:rows].copy())
    return np.concatenate(buffers), ended_ms, counts, bought


@numba.njit(cache=True, nogil=True)
def _fill(
    visits: Visits,
    start: int,
    last: int,
    shops: npt.NDArray[np.void],
    shelves: npt.NDArray[np.void],
    products: npt.NDArray[np.void],
    promotions: npt.NDArray[np.void],
    habits: npt.NDArray[np.void],
    out: RawEvents,
    ended_ms: I64,
    counts: I32,
    bought: npt.NDArray[np.bool_],
    first: int,
) -> tuple[int, int]:
    """Simulate visits from ``start`` on until ``out`` may be too small for one more; return the next visit and rows."""
    row = 0
    for index in range(start, last):
        if row + bots.MAX_EVENTS > len(out):
            return index, row
        visit = visits[index]
        shop = shops[visit["merchant"]]
        before = row
        if visit["kind"] < 0:
            row = bots.crawl(row, index, visit, shop, products, out)
        else:
            row, bought[index - first] = shopper.walk(
                row, index, visit, shop, shelves, products, promotions, habits, out
            )
        ended_ms[index - first] = out[row - 1]["t_ms"]
        counts[index - first] = row - before
    return last, row
