from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoders.errors import TrainingDataError
from encoders.sessionise import SessionLog
from encoders.truth import planted_types, read_truth
from schemas.events import EVENT
from schemas.hashing import hash64

pytestmark = pytest.mark.fast


def _log(spans_s: list[tuple[str, int, int]]) -> SessionLog:
    events = np.zeros(2 * len(spans_s), EVENT)
    events["t"] = np.array([(first * 1000, last * 1000) for _, first, last in spans_s]).ravel()
    keys = [hash64(f"shop\x1f{client}".encode()) for client, _, _ in spans_s]
    starts = np.arange(0, len(events), 2)
    return SessionLog(
        events, starts, np.full(len(starts), 2), np.array(keys, np.uint64), np.zeros(len(starts), np.int32), ("shop",)
    )


def test_a_session_has_the_type_of_the_planted_one_that_it_overlaps_longest(tmp_path: Path) -> None:
    planted = [("ann", 0, 100, 3), ("ann", 110, 300, 4), ("bob", 0, 50, 5), ("cid", 0, 10, 6)]
    names, starts, ends, types = zip(*planted, strict=True)
    table = pa.table(
        {
            "merchant_id": ["shop"] * 4,
            "client_id": names,
            "started_ms": [start * 1000 for start in starts],
            "ended_ms": [end * 1000 for end in ends],
            "type": types,
        }
    )
    pq.write_table(table, tmp_path / "truth.parquet")
    log = _log([("ann", 90, 300), ("ann", 5, 60), ("bob", 50, 50), ("cid", 20, 30), ("dan", 0, 10)])
    assert planted_types(read_truth(tmp_path / "truth.parquet"), log).tolist() == [4, 3, 5, -1, -1]


def test_a_file_that_is_no_truth_is_one_sentence(tmp_path: Path) -> None:
    pq.write_table(pa.table({"merchant_id": ["shop"]}), tmp_path / "truth.parquet")
    with pytest.raises(
        TrainingDataError,
        match=r"not a truth of generated sessions, missing client_id, started_ms, ended_ms, type; give what",
    ):
        read_truth(tmp_path / "truth.parquet")
