"""Planted types beside generated traffic, matched to the sessions they belong to."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.errors import TrainingDataError
from encoders.sessionise import SessionLog
from schemas.events import I64
from schemas.hashing import hash64

_COLUMNS = ["merchant_id", "client_id", "started_ms", "ended_ms", "type"]


def read_truth(path: Path) -> pa.Table:
    """Return the columns of a truth that ``planted_types`` needs. Raises TrainingDataError when the file is none."""
    try:
        found = pq.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in found]
        if missing:
            raise TrainingDataError(
                f"{path}: not a truth of generated sessions, missing {', '.join(missing)}; give what "
                "`simpersona generate --truth` wrote."
            )
        return pq.read_table(path, columns=_COLUMNS)
    except FileNotFoundError as error:
        raise TrainingDataError(f"{path}: there is no such file.") from error
    except (OSError, pa.ArrowException) as error:
        raise TrainingDataError(f"{path}: not a truth of generated sessions ({error}).") from error


def planted_types(table: pa.Table, log: SessionLog) -> I64:
    """Return the planted type (n,) int64 of each session of ``log``, -1 where the truth knows none.

    ``table`` is a truth as ``read_truth`` returns it. A session belongs to the planted one of the same buyer that it
    overlaps longest; lateness and duplicates move ends a little.
    """
    buyers = pc.binary_join_element_wise(table["merchant_id"], table["client_id"], "\x1f").combine_chunks()
    coded = buyers.dictionary_encode()
    hashes = np.array([hash64(name.encode()) for name in coded.dictionary.to_pylist()], np.uint64)
    key = hashes[coded.indices.to_numpy()]
    started, ended, kind = (_integers(table[name]) for name in _COLUMNS[2:])
    order = np.lexsort((started, key))
    key, started, ended, kind = key[order], started[order], ended[order], kind[order]

    first = log.events["t"][log.starts]
    last = log.events["t"][log.starts + log.lengths - 1]
    low, high = np.searchsorted(key, log.key, "left"), np.searchsorted(key, log.key, "right")
    types = np.full(len(log), -1, np.int64)
    longest = np.full(len(log), -1, np.int64)
    for step in range(int((high - low).max(initial=0))):  # as many rounds as the busiest buyer has sessions
        rows = np.flatnonzero(low + step < high)
        candidate = low[rows] + step
        overlap = np.minimum(last[rows], ended[candidate]) - np.maximum(first[rows], started[candidate])
        better = overlap > longest[rows]
        types[rows[better]] = kind[candidate[better]]
        longest[rows[better]] = overlap[better]
    return types


def _integers(column: pa.ChunkedArray) -> I64:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz)).cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)
