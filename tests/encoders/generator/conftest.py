"""One small generated run that all tests of the generator read, and its tables."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from encoders.generator.delivery import Faults
from encoders.generator.run import Generated, GeneratorRun, generate

#: Monday, 7 September 2026, 00:00 UTC.
START_MS = 1_788_739_200_000
#: Five shops: one of each kind of drift, and two without; every fault often enough to be met.
SMALL = GeneratorRun(
    merchants=5,
    buyers=150,
    hours=48.0,
    seed=3,
    start_ms=START_MS,
    bots=0.02,
    malformed=0.01,
    faults=Faults(delayed=0.05, late=0.01, duplicated=0.02),
)


@dataclass(frozen=True)
class Made:
    """The files of one run, read."""

    counts: Generated
    events: pa.Table
    truth: pa.Table
    summary: dict[str, Any]
    path: Path

    def first_copies(self) -> pa.Table:
        """The events without their second copies, with times as int64 milliseconds."""
        ids = pc.dictionary_encode(self.events["event_id"]).combine_chunks().indices.to_numpy()
        seen: set[int] = set()
        first = [not (i in seen or seen.add(i)) for i in ids.tolist()]
        table = self.events.filter(pa.array(first))
        for name in ("occurred_at", "received_at"):
            table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
        return table


def make(run: GeneratorRun, folder: Path) -> Made:
    """Generate into a folder and read everything back."""
    events, truth = folder / "events.parquet", folder / "truth.parquet"
    counts = generate(run, events, truth, lambda done, total: None)
    summary = json.loads(truth.with_suffix(".json").read_text())
    return Made(counts, pq.read_table(events), pq.read_table(truth), summary, events)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(SMALL, tmp_path_factory.mktemp("small"))
