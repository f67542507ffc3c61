"""Simulated clicks as a canonical event log: to be compared, assigned and trained on like any other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from encoders.event_log import ARROW_SCHEMA, EventLogWriter

#: Rows made into one batch.
_ROWS = 65_536


def write_clicks(path: Path, clicks: Sequence[Mapping[str, object]]) -> None:
    """Write ClickEvents, ordered by event time. The file is a function of the clicks. Raises EventLogError."""
    with EventLogWriter(path) as log:
        for first in range(0, len(clicks), _ROWS):
            rows = clicks[first : first + _ROWS]
            columns = {name: [row[name] for row in rows] for name in ARROW_SCHEMA.names if name != "properties"}
            columns["properties"] = [[] for _ in rows]
            arrays = [pa.array(columns[field.name], field.type) for field in ARROW_SCHEMA]
            log.write(pa.table(arrays, schema=ARROW_SCHEMA))
