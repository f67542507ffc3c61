"""Importing a raw log that a test wrote, and reading the events back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from encoders.adapters.formats import adapter_of
from encoders.adapters.importing import ImportReport, ImportTarget, import_log
from encoders.event_log import read_batches


@dataclass(frozen=True)
class Imported:
    report: ImportReport
    events: list[dict[str, Any]]
    target: ImportTarget

    def column(self, *names: str) -> list[Any]:
        """The named values of every event, without the tuple when only one is named."""
        rows = [tuple(event[name] for name in names) for event in self.events]
        return [row[0] for row in rows] if len(names) == 1 else rows


Import = Callable[..., Imported]


@pytest.fixture
def imported(tmp_path: Path) -> Import:
    """Call with a format and {file name: content}; optional ``merchant``, ``day`` and ``rejects``."""

    def run(
        name: str,
        files: Mapping[str, str | bytes],
        merchant: str | None = None,
        day: date | None = None,
        rejects: bool = False,
    ) -> Imported:
        paths = []
        for file_name, content in files.items():
            path = tmp_path / file_name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            paths.append(path)
        target = ImportTarget(tmp_path / "log.parquet", tmp_path / "rejects.jsonl" if rejects else None, memory_mb=256)
        report = import_log(adapter_of(name), paths, target, merchant, day)
        assert report.rows == report.accepted + report.collapsed + sum(report.rejected.values())
        events = pa.Table.from_batches(read_batches([target.out])).to_pylist()
        for event in events:
            event["properties"] = dict(event["properties"])
            event["ms"] = int(event["occurred_at"].timestamp() * 1000 + 0.5)
        return Imported(report, events, target)

    return run
