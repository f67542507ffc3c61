"""``bench real``: what is asked, what is known of a buyer, and models that carry over as far as they are right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.encoder_world import WorldPlan, make_world
from bench.real import PREFIXES, RealPlan, bench_real
from bench.real_logs import LOGS, ask, buyer_history
from bench.real_models import PULLS, adapt_logit, fit_logit, log_loss
from encoders.model import Shape
from encoders.sessionise import SessionLog
from encoders.training import TrainingOptions
from schemas.settings import Settings
from schemas.taxonomy import EVENT_CODES

DATA = Settings().data
CART, BOUGHT = EVENT_CODES["product_added_to_cart"], EVENT_CODES["checkout_completed"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> SessionLog:
    plan = WorldPlan(merchants=5, unseen_merchants=1, buyers=60, unseen_buyers=10, hours=96.0, seed=4)
    world = make_world(tmp_path_factory.mktemp("world"), plan, lambda step: None)
    return world.training.log.select(world.training.log.merchant == 0)


def events_of(log: SessionLog, row: int) -> list[int]:
    return log.events["event"][log.starts[row] : log.starts[row] + log.lengths[row]].tolist()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_asked_is_whether_a_cart_or_purchase_comes_after_the_prefix(log: SessionLog, prefix: int) -> None:
    question = ask(log, prefix)
    assert len(question.log) == (log.lengths >= prefix).sum()
    for row, wanted in enumerate(question.wanted.tolist()):
        assert wanted == bool({CART, BOUGHT} & set(events_of(question.log, row)[prefix:]))


def test_the_later_half_starts_no_earlier_than_the_earlier_half(log: SessionLog) -> None:
    question = ask(log, 2)
    started = question.log.events["t"][question.log.starts]
    assert started[question.earlier].max() <= started[~question.earlier].min()
    assert abs(int(question.earlier.sum()) * 2 - len(question.log)) <= 1


def test_a_buyer_s_history_is_that_of_their_earlier_sessions(log: SessionLog) -> None:
    history = buyer_history(log)
    for row in range(len(log)):
        before = [i for i in range(row) if log.key[i] == log.key[row]]
        carts = [bool({CART, BOUGHT} & set(events_of(log, i))) for i in before]
        assert history[row, 0] == pytest.approx(np.log1p(len(before)))
        assert history[row, 1:3].tolist() == [float(any(carts)), float(bool(carts) and carts[-1])]
        assert (history[row, 3] > 0) == bool(before)


def drawn(rng: np.random.Generator, weights: np.ndarray, sessions: int) -> tuple[np.ndarray, np.ndarray]:
    features = rng.standard_normal((sessions, len(weights)))
    return features, rng.random(sessions) < 1 / (1 + np.exp(2.0 - features @ weights))


@pytest.mark.fast
def test_a_logit_finds_the_weights_it_was_drawn_from_and_each_group_has_an_intercept() -> None:
    rng = np.random.default_rng(1)
    features, outcome = drawn(rng, np.array([1.0, -0.5, 0.0]), 20_000)
    groups = np.eye(2)[rng.integers(0, 2, len(outcome))]
    model = fit_logit(features, outcome, 1.0, groups=groups)
    assert model.weights == pytest.approx([1.0, -0.5, 0.0], abs=0.1)
    assert model.intercept == pytest.approx(-2.0, abs=0.15)
    assert fit_logit(features, outcome, 1e9, np.array([3.0, 3.0, 3.0])).weights == pytest.approx([3.0] * 3, abs=1e-2)


@pytest.mark.fast
def test_what_was_learnt_elsewhere_helps_where_it_is_right_and_is_dropped_where_it_is_wrong() -> None:
    rng = np.random.default_rng(2)
    weights = np.array([1.0, -1.0, 0.7, 0.0, 0.5, -0.5])
    features, outcome = drawn(rng, weights, 200)
    asked, told = drawn(rng, weights, 5_000)
    right, wrong = (adapt_logit(features, outcome, learnt, 0) for learnt in (weights, -2.0 * weights))
    alone = adapt_logit(features, outcome, np.zeros(6), 0)
    loss = {name: log_loss(m.chances(asked), told).mean() for name, m in (("r", right), ("w", wrong), ("a", alone))}
    assert loss["r"] < loss["a"]
    assert loss["w"] < loss["a"] + 0.01
    assert len(PULLS) > 1


def test_without_logs_a_sentence_says_where_they_are_looked_for(tmp_path: Path) -> None:
    report = bench_real(tmp_path / "work", tmp_path / "none", RealPlan(), lambda step: None)
    assert not report.figures
    assert "SIMPERSONA_DATA" in report.missing["pooled_ours_gain"]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real logs at SIMPERSONA_DATA={DATA}")
def test_real_shops_have_their_figures(tmp_path: Path) -> None:
    # Two small logs are enough: links to them stand for the whole folder.
    data = tmp_path / "data"
    for name in ("retailrocket", "ga360"):
        (data / LOGS[name]).parent.mkdir(parents=True)
        (data / LOGS[name]).symlink_to((DATA / LOGS[name]).resolve())
    options = TrainingOptions(Shape(width=16, hidden=16, coarse=4, fine=2), epochs=2)
    report = bench_real(tmp_path / "work", data, replace(RealPlan(options), rounds=5, resamples=50), lambda step: None)
    for model in ("ours", "kmeans", "boosting", "ceiling"):
        gain, low, high = (report.figures[f"pooled_{model}_gain{end}"].value for end in ("", "_low", "_high"))
        assert low <= gain <= high < 1.0
    assert 0 <= report.figures["pooled_ours_calibration_error"].value < 0.2
    assert report.figures["pooled_sessions"].value > 500
