"""The report: the shape that every benchmark answers in."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.report import Report

pytestmark = pytest.mark.fast


def report() -> Report:
    made = Report()
    made.add("ours", 80_000.0, "events/s")
    made.add("faust_plain", 4_000.0, "events/s")
    made.compare("ours", "faust_plain")
    made.missing["quix_session"] = "The peers' environment is made by uv and no `uv` is here; install it with pip."
    return made


def test_a_written_report_holds_machine_versions_figures_with_units_ratios_and_what_is_missing(tmp_path: Path) -> None:
    report().write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert set(written) == {"machine", "versions", "figures", "ratios", "missing"}
    assert written["figures"]["ours"] == {"value": 80_000.0, "unit": "events/s"}
    assert written["ratios"] == {"ours/faust_plain": 20.0}
    assert list(written["missing"]) == ["quix_session"]
    assert written["machine"]["cores"] >= 1
    assert "faust-streaming" in written["versions"]


def test_a_printed_report_is_a_table_followed_by_what_is_missing_and_why() -> None:
    out = io.StringIO()
    report().print(Console(file=out, width=100), "bench stream")
    text = out.getvalue()
    assert "80,000.00" in text
    assert "ours/faust_plain" in text
    assert "No figure for quix_session: The peers' environment is made by uv" in text


def test_a_ratio_of_a_figure_that_was_not_measured_is_refused() -> None:
    with pytest.raises(KeyError):
        report().compare("ours", "bytewax_session")
