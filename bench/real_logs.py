"""Real click logs as sessions, and what is asked about them: does the rest of a session hold a cart or a purchase?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from encoders.adapters.formats import adapter_of
from encoders.adapters.importing import ImportTarget, import_log
from encoders.sessionise import SessionLog, read_sessions
from schemas.events import I64
from schemas.settings import settings
from schemas.taxonomy import EVENT_CODES

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Where the logs lie below ``SIMPERSONA_DATA``, by the name of their format.
LOGS = {
    "rees46": "rees46_multicategory_2019oct/2019-Oct_first_2h50.csv.gz",
    "eshop2008": "uci_eshop_clothing_2008/e-shop_clothing_2008.csv.gz",
    "otto": "otto_test_fixture/train.jsonl.gz",
    "retailrocket": "retailrocket_sample/sample_events.csv.gz",
    "ga360": "google_merch_store_20170801/ga_sessions_20170801.csv.gz",
}
#: A merchant is asked about if each half of it has so many sessions with a cart or a purchase to come.
LEAST_POSITIVES = 10
_WANTED = [EVENT_CODES["product_added_to_cart"], EVENT_CODES["checkout_completed"]]
_MS_PER_HOUR = 3_600_000.0


@dataclass(frozen=True, slots=True)
class Question:
    """Sessions of one merchant that have ``prefix`` events or more, in order of their start.

    log      the sessions, (n,)
    rows     their places in the merchant's whole log, (n,)
    wanted   whether a cart or purchase comes after the prefix, (n,)
    history  what the buyer did before, (n, 4), see ``buyer_history``
    earlier  whether a session belongs to the earlier half, (n,)
    """

    prefix: int
    log: SessionLog
    rows: I64
    wanted: Flags
    history: F64
    earlier: Flags

    @property
    def shown(self) -> I64:
        """How many events of each session are shown, (n,)."""
        return np.full(len(self.log), self.prefix, np.int64)

    @property
    def answerable(self) -> bool:
        """Whether both halves have enough of what is asked about."""
        halves = (self.wanted[self.earlier].sum(), self.wanted[~self.earlier].sum())
        return int(min(halves)) >= LEAST_POSITIVES


def read_logs(folder: Path, data: Path, say: Callable[[str], None]) -> dict[str, SessionLog]:
    """Import the logs that are there into ``folder``, unless they lie there already, and cut them into sessions."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = {}
    for name, place in LOGS.items():
        if not (data / place).exists():
            continue
        path = folder / f"{name}.parquet"
        if not path.exists():
            say(f"importing {name}")
            import_log(adapter_of(name), [data / place], ImportTarget(path), None, None, lambda what, percent: None)
        dials = settings()
        logs[name] = read_sessions([path], dials.gap_ms, dials.session_max_events)
    return logs


def ask(log: SessionLog, prefix: int) -> Question:
    """Return the question about all sessions of one merchant with ``prefix`` events or more."""
    started = log.events["t"][log.starts]
    history = buyer_history(log)
    rows = np.flatnonzero(log.lengths >= prefix)
    rows = rows[np.lexsort((log.key[rows], started[rows]))]
    chosen = log.select(rows)
    earlier = np.arange(len(rows)) < len(rows) // 2
    return Question(prefix, chosen, rows, _wanted(chosen, prefix), history[rows], earlier)


def buyer_history(log: SessionLog) -> F64:
    """Return what each session's buyer did in earlier ones, (n, 4).

    log(1 + sessions), whether any had a cart or purchase, whether the last one had, hours since it ended as a decay
    exp(−hours / 24) (0 without any). The log is ordered by (buyer, start).
    """
    wanted = _wanted(log, 0)
    new_buyer = np.diff(log.key, prepend=~log.key[:1]) != 0
    first = np.maximum.accumulate(np.where(new_buyer, np.arange(len(log)), 0))
    before = np.arange(len(log)) - first
    carts: I64 = np.cumsum(wanted) - wanted
    wanted_before = carts - carts[first]
    previous = np.maximum(np.arange(len(log)) - 1, 0)
    ended = log.events["t"][log.starts[previous] + log.lengths[previous] - 1]
    hours = (log.events["t"][log.starts] - ended) / _MS_PER_HOUR
    known = before > 0
    columns = (np.log1p(before), wanted_before > 0, known & wanted[previous], known * np.exp(-np.abs(hours) / 24.0))
    return np.stack(columns, axis=1).astype(np.float64)


def _wanted(log: SessionLog, prefix: int) -> Flags:
    """Return whether a cart or purchase comes after the first ``prefix`` events of each session, (n,)."""
    is_wanted = np.concatenate([[0], np.cumsum(np.isin(log.events["event"], _WANTED))])
    shown = np.minimum(log.lengths, prefix)
    return np.asarray(is_wanted[log.starts + log.lengths] > is_wanted[log.starts + shown])
