"""What following a drift is worth, on one small storefront, with the Markov chain for every model."""

from pathlib import Path

import numpy as np
import pytest

from agent_runtime.alignment.run import AlignmentPlan, Cast, Player
from agent_runtime.alignment.table import AlignmentTable
from agent_runtime.models.markov import fit_markov
from agent_runtime.vocabulary import Vocabulary
from bench.align import AlignBench
from bench.align_drift import BEFORE, MEASURES, DriftedStorefront, compared, report_of, storefront
from bench.drift_picture import draw_drift
from encoders.serving import Encoder
from tests.untrained import write_untrained

PLAN = AlignmentPlan(adapter_sessions=40, read_out=20)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.load(write_untrained(tmp_path_factory.mktemp("encoder"), 1))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> DriftedStorefront:
    bench = AlignBench(held_out_buyers=300, hours=48.0)
    return storefront(tmp_path_factory.mktemp("made"), bench, 0, PLAN, encoder, 512, lambda step: None, most_h=12)


def starts(log: object) -> np.ndarray:  # type: ignore[type-arg]
    return log.events["t"][log.starts]  # type: ignore[attr-defined, no-any-return]


def test_what_is_foretold_lies_behind_what_was_seen(one: DriftedStorefront) -> None:
    before, seen, after = (starts(part.log) for part in (one.known.past, one.seen, one.known.future))
    assert before.max() < seen.min() < seen.max() < one.known.span.start_ms <= after.min()
    assert min(len(seen), len(after)) > 30


def test_every_way_of_knowing_is_measured(one: DriftedStorefront, encoder: Encoder, tmp_path: Path) -> None:
    words = Vocabulary(encoder.version, tuple(encoder.code_paths))
    traces = one.known.past.traces
    chain = Player(fit_markov(traces, words), words)
    without = Player(fit_markov(traces.untyped(), words.untyped()), words.untyped(), typed=False)
    figures = compared(one, Cast(chain, encoder, {"no_persona": without}), PLAN, (6, 12))
    assert set(figures) == {f"{who}_{hours}h" for who in ("real", "persona", "no_persona") for hours in (0, 6, 12)}
    assert all(set(MEASURES) <= set(found) for found in figures.values())
    # what is known of the drift decides who walks in
    assert figures["persona_0h"]["ara_g"] != figures["persona_12h"]["ara_g"]
    assert figures["no_persona_0h"]["ara_g"] != figures["no_persona_12h"]["ara_g"]
    report = report_of(AlignmentTable({one.known.merchant_id: figures}), 1, (BEFORE, 6, 12))
    assert report.figures["sessions_12h"].value == len(one.seen)
    draw_drift(report, (BEFORE, 6, 12), tmp_path / "drift.svg")
    assert "12 h" in (tmp_path / "drift.svg").read_text()
