"""Event log and assignments joined into traces, and traces as tokens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent_runtime.errors import TraceError
from agent_runtime.storefront.actions import ACTIONS
from agent_runtime.traces.retrace import Steps
from agent_runtime.traces.traces import Traces, read_traces, token_rows
from agent_runtime.vocabulary import MAX_EVENTS, Vocabulary

pytestmark = pytest.mark.fast
ALL_FLAGS = (7, 7, 7, 3)


def test_every_assigned_session_is_found_with_its_own_events(toy_traces: Traces) -> None:
    lengths = np.diff(toy_traces.steps.offsets)
    assert len(toy_traces) == 120
    assert {(int(c), int(n)) for c, n in zip(toy_traces.code, lengths, strict=True)} == {(0, 1), (1, 4), (2, 5)}


def test_a_session_as_tokens_reads_from_storefront_to_leaving(toy_traces: Traces, vocabulary: Vocabulary) -> None:
    row = token_rows(toy_traces, vocabulary, [ALL_FLAGS])[int(np.flatnonzero(toy_traces.code == 2)[0])]
    names = [vocabulary.names[token] for token in row]
    assert names[:9] == [
        *(f"<shop{group}:{bits}>" for group, bits in enumerate(ALL_FLAGS)),
        "<c01>",
        "<c01.f0>",
        "<device:mobile>",
        "<from:unknown>",
        "<moment5>",
    ]
    assert names[9].startswith("product_viewed:new:new")
    assert names[11] == "<pace2>"
    assert names[-5:] == ["checkout_started", "<pace2>", "checkout_completed", "<pace2>", "<leave>"]


def test_a_limit_draws_the_same_sessions_by_seed(toy_log: tuple[Path, Path]) -> None:
    first, again = (read_traces([toy_log[0]], toy_log[1], 30, 4) for _ in range(2))
    other = read_traces([toy_log[0]], toy_log[1], 30, 5)
    assert len(first) == len(other) == 30
    assert np.array_equal(first.steps.moment, again.steps.moment)
    assert np.array_equal(first.code, again.code)


def test_a_merchant_counts_by_the_root_of_its_sessions(toy_traces: Traces) -> None:
    merchant = np.repeat([0, 1], [16, 4]).astype(np.int32)
    weights = replace(toy_traces.select(np.arange(20)), merchant=merchant, merchants=("large", "small")).weights()
    assert weights.mean() == pytest.approx(1.0)
    assert weights[merchant == 0].sum() == pytest.approx(2 * weights[merchant == 1].sum())


def test_a_session_too_long_is_told_without_its_leaving(toy_traces: Traces, vocabulary: Vocabulary) -> None:
    count = MAX_EVENTS + 5
    action, pace, trait = np.zeros(count, np.uint8), np.ones(count, np.uint8), np.zeros(1, np.uint8)
    steps = Steps(action, pace, trait, trait, trait, np.array([0, count]))
    traces = replace(toy_traces.select(np.zeros(1, np.int64)), steps=steps, code=np.zeros(1, np.int32))
    row = token_rows(traces, vocabulary, [ALL_FLAGS])[0]
    assert len(row) == vocabulary.longest - 1
    assert vocabulary.leave not in row


def change(source: Path, target: Path, **columns: list[object]) -> Path:
    table = pq.read_table(source)
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    pq.write_table(table, target)
    return target


def test_bots_teach_nothing(toy_log: tuple[Path, Path], tmp_path: Path) -> None:
    assigned = change(toy_log[1], tmp_path / "a.parquet", is_bot=[i % 2 == 0 for i in range(120)])
    assert len(read_traces([toy_log[0]], assigned, 1_000, 0)) == 60


def test_assignments_of_other_events_are_refused(toy_log: tuple[Path, Path], tmp_path: Path) -> None:
    assigned = change(toy_log[1], tmp_path / "a.parquet", client_id=[f"stranger-{i}" for i in range(120)])
    with pytest.raises(TraceError, match="only 0% of its sessions are in the events"):
        read_traces([toy_log[0]], assigned, 1_000, 0)


def test_two_codebooks_in_one_file_are_refused(toy_log: tuple[Path, Path], tmp_path: Path) -> None:
    assigned = change(toy_log[1], tmp_path / "a.parquet", codebook_version=["cb-a", "cb-b"] * 60)
    with pytest.raises(TraceError, match="made by several codebooks"):
        read_traces([toy_log[0]], assigned, 1_000, 0)


def test_a_file_that_holds_no_assignments_is_named(toy_log: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("nothing")
    for path, sentence in (
        (toy_log[0], "no assignments, missing started_at, ended_at, events, code, codebook_version; make them"),
        (tmp_path / "a.parquet", "no assignments"),
        (tmp_path / "absent.parquet", "absent.parquet: there is no such file; make"),
    ):
        with pytest.raises(TraceError, match=sentence):
            read_traces([toy_log[0]], path, 1_000, 0)


def test_actions_of_the_toy_buyers_are_what_they_did(toy_traces: Traces) -> None:
    steps = toy_traces.steps
    row = int(np.flatnonzero(toy_traces.code == 2)[0])
    names = [ACTIONS[a].name for a in steps.action[steps.offsets[row] : steps.offsets[row + 1]]]
    assert names[2:] == ["product_added_to_cart:same:one", "checkout_started", "checkout_completed"]
