"""The table of faults: one row per fault test, printed at the end of a run and written where it is asked for."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.verdict import Verdict

#: Names a file for the table: JSON, or Markdown when it ends so.
TABLE_FILE = "SIMPERSONA_FAULT_TABLE"
#: Under this name a test's verdict travels with its report, from the processes of pytest-xdist too.
_PROPERTY = "fault"
HEADINGS = {
    "fault": "fault",
    "times": "times",
    "events": "events sent",
    "rows": "rows compared",
    "differences": "differences",
    "duplicates": "duplicates under FINAL",
    "unbalanced": "windows out of balance",
    "misjudged": "records misjudged",
    "mixes": "stale mixes",
    "catch_up_s": "seconds to catch up",
}


def attach(node: pytest.Item, verdict: "Verdict") -> None:
    """Let a test's report carry its verdict."""
    node.user_properties.append((_PROPERTY, asdict(verdict)))


def rows_of(reports: Iterable[pytest.TestReport]) -> list[Mapping[str, object]]:
    """Return the verdicts that reports carry, by fault."""
    rows = [value for report in reports for name, value in report.user_properties if name == _PROPERTY]
    return sorted(rows, key=lambda row: str(row["fault"]))


def as_markdown(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the table's lines."""
    lines = [" | ".join(HEADINGS.values()), "|".join("---" for _ in HEADINGS)]
    lines += [" | ".join(_cell(row[name]) for name in HEADINGS) for row in rows]
    return [f"| {line} |" for line in lines]


def write_table(rows: list[Mapping[str, object]]) -> None:
    """Write the table to the file that the environment names, if it names one."""
    path = os.environ.get(TABLE_FILE)
    if path:
        markdown = path.endswith(".md")
        text = "\n".join(as_markdown(rows)) if markdown else json.dumps(rows, indent=1)
        Path(path).write_text(text + "\n")


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
