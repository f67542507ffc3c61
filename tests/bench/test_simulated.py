"""The benchmarks of simulated buyers: what they count, on crowds whose figures are known beforehand."""

from pathlib import Path

import numpy as np
import pytest

from agent_runtime.models.markov import MarkovChain
from agent_runtime.simulators.simulator import LOCAL, MARKOV, write_simulator
from agent_runtime.storefront.capabilities import FIELDS, Capabilities
from agent_runtime.storefront.shop import Product, Shop
from agent_runtime.vocabulary import Vocabulary
from bench.follow import FollowPlan, Sight, follow_report
from bench.round_trip import RoundTrip, round_trip_report
from bench.simulate import SimulateBench, bench_simulate, measure
from infra.errors import BenchError
from schemas.taxonomy import EVENT_CODES


def names(**counts: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.repeat(list(counts), list(counts.values()))


def test_a_round_trip_is_reported_by_merchant_and_pooled() -> None:
    even, skewed = names(c00=50, c01=50), names(c00=75, c01=25)
    trip = RoundTrip("shop-1", even, skewed, even, even, even, even, full_own=0.6)
    other = RoundTrip("shop-2", even, even, even, even, even, skewed, full_own=0.8)
    report, measured = round_trip_report([trip, other], 200)
    value = {name: figure.value for name, figure in report.figures.items()}
    assert (value["shop_1_own_type"], value["shop_1_own_type_tokeniser"]) == (75.0, 100.0)
    assert (value["shop_2_own_type"], value["shop_2_own_type_tokeniser"]) == (100.0, 75.0)
    assert value["pooled_own_type"] == value["pooled_own_type_tokeniser"] == 87.5
    assert value["pooled_own_code"] == pytest.approx(70.0)
    # JS of (1/2, 1/2) and (3/4, 1/4): H(5/8, 3/8) - (H(1/2) + H(3/4)) / 2
    entropy = {p: -p * np.log(p) - (1 - p) * np.log(1 - p) for p in (0.5, 0.625, 0.75)}
    assert value["shop_1_js_simulated_future"] == pytest.approx(
        1000 * (entropy[0.625] - (entropy[0.5] + entropy[0.75]) / 2)
    )
    assert value["shop_1_js_past_future"] == value["shop_2_js_simulated_future"] == pytest.approx(0.0)
    rows = {(one.merchant_id, one.measure): one for one in measured}
    assert set(rows) == {
        (shop, measure) for shop in ("shop-1", "shop-2", "") for measure in ("own_type", "round_trip_js")
    }
    own = rows["shop-1", "own_type"]
    assert own.floor == 1.0
    assert 0.6 < own.estimate.low < 0.75 < own.estimate.high < 0.9


def test_a_drift_is_followed_when_the_mix_is_near_and_not_before() -> None:
    seen = [
        Sight(-1.0, 0.3, 0.3, 100, 0),
        Sight(5.0, 0.2, 0.25, 100, 40),
        Sight(9.0, 0.019, 0.1, 100, 80),
        Sight(14.0, 0.01, 0.015, 100, 130),
    ]
    report = follow_report(seen, 2.5, 0.3, FollowPlan(speed=60.0))
    value = {name: figure.value for name, figure in report.figures.items()}
    assert (value["mix_followed"], value["mix_followed_sessions"]) == (9.0, 80.0)
    assert (value["population_followed"], value["population_followed_event_time"]) == (14.0, 14.0)
    assert value["population_before"] == pytest.approx(300.0)
    late = follow_report(seen[:3], 2.5, 0.3, FollowPlan())
    assert "population_followed" not in late.figures
    assert "0.100 nats off" in late.missing["population_followed"]


def _toy(tmp_path: Path) -> Path:
    """Return the folder of a scripted simulator in which everything is as likely."""
    words = Vocabulary("cb-test", ("c00", "c01"))
    shapes = {
        "device": (2, 4),
        "referrer": (2, 7),
        "moment": (2, 16),
        "first": (2, 30),
        "nxt": (2, 9, 30, 31),
        "pace": (2, 30, 13),
    }
    even = {name: np.full(shape, 1 / shape[-1], np.float32) for name, shape in shapes.items()}
    fields = dict.fromkeys(EVENT_CODES, frozenset(FIELDS))
    products = tuple(Product(f"p{i}", "a", 1_000, 1) for i in range(4))
    shop = Shop("shop", "EUR", products, (), Capabilities(frozenset(EVENT_CODES), fields))
    write_simulator(tmp_path / "s", words, MarkovChain(words, **even), [shop], None, {})
    return tmp_path / "s"


def test_a_backend_is_measured_in_sessions_played(tmp_path: Path) -> None:
    measured = measure(_toy(tmp_path), MARKOV, 300, 2, 2, 0)
    assert len(measured.wall_s) == len(measured.cpu_s) == 2
    assert min(measured.wall_s) > 0 and measured.memory_mib >= measured.before_mib > 0
    assert measured.events > 300


def test_every_backend_plays_as_many_sessions_as_asked(tmp_path: Path) -> None:
    """The process that measures is told how many of this backend, not how many of the language model."""
    simulator = _toy(tmp_path)
    report = bench_simulate(simulator, SimulateBench(5, 40, 1, 1, 0), lambda step: None, (MARKOV,))
    played = report.figures["markov_events_per_session"].value * 40
    assert played == measure(simulator, MARKOV, 40, 1, 1, 0).events


def test_a_backend_that_cannot_play_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^The backend local could not be measured: [^\n]* language model[^\n]*\.$"):
        bench_simulate(_toy(tmp_path), SimulateBench(5, 40, 1, 1, 0), lambda step: None, (LOCAL,))
