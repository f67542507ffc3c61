"""One storefront under comparison, with the Markov chain for every model: quick, and all conditions are there."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_runtime.alignment.early_types import EarlyTypes
from agent_runtime.alignment.measures import MEASURES
from agent_runtime.alignment.pool import storefront_name
from agent_runtime.alignment.run import AlignmentPlan, Cast, Comparison, Player
from agent_runtime.alignment.strict import by_earlier_session, by_first_events, told_before
from agent_runtime.alignment.yardsticks import mix_of
from agent_runtime.errors import TraceError
from agent_runtime.models.markov import fit_markov
from agent_runtime.traces.held_out import HeldOut, read_held_out, record
from agent_runtime.vocabulary import Vocabulary
from encoders.serving import Encoder
from encoders.sessionise import read_sessions
from tests.untrained import write_untrained

GAP_MS = 1_800_000
PLAN = AlignmentPlan(gap_ms=GAP_MS, derangements=2, adapter_sessions=40, read_out=20)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.load(write_untrained(tmp_path_factory.mktemp("encoder"), 1))


@pytest.fixture(scope="module")
def held(toy_log: tuple[Path, Path], encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    (found,) = read_held_out([toy_log[0]], encoder, GAP_MS, 512, 60, tmp_path_factory.mktemp("scratch"))
    return found


@pytest.fixture(scope="module")
def cast(toy_log: tuple[Path, Path], encoder: Encoder) -> Cast:
    recorded = record(read_sessions([toy_log[0]], GAP_MS, 512), encoder)
    vocabulary = Vocabulary(encoder.version, tuple(encoder.code_paths))
    chain = Player(fit_markov(recorded.traces, vocabulary), vocabulary)
    untyped = Player(fit_markov(recorded.traces.untyped(), vocabulary.untyped()), vocabulary.untyped(), typed=False)
    return Cast(chain, encoder, {"no_persona": untyped}, chain, recorded, ((0, 0, 0, 0),))


def test_a_log_is_cut_in_the_middle_and_its_shop_seen_in_the_past(held: HeldOut) -> None:
    assert (held.merchant_id, len(held.past), len(held.future)) == ("shop", 60, 60)
    last = held.past.log.events["t"][held.past.log.starts].max()
    assert last < held.span.start_ms <= held.future.log.events["t"][held.future.log.starts].min()
    assert 0 < sum(product.views for product in held.shop.products) < 60 * 4


def test_too_few_sessions_are_said_plainly(toy_log: tuple[Path, Path], encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no merchant has 500 sessions"):
        read_held_out([toy_log[0]], encoder, GAP_MS, 512, 500, tmp_path)


def test_every_condition_has_every_measure(held: HeldOut, cast: Cast) -> None:
    said: list[str] = []
    comparison = Comparison(held, cast, PLAN)
    other = mix_of("other", cast.encoder.version, np.zeros(5, np.int32), held.span.start_ms)
    figures = comparison.run({"other": other}, said.append)
    assert set(figures) == {
        "floor", "floor_halves", "tokeniser", "persona", "persona_plain", "mismatched", "mismatched_codes",
        "other_mix", "uniform", "no_persona", "no_persona_plain", "markov", "markov_plain", "replay",
        "replay_same_flags",
    }  # fmt: skip
    for name in set(figures) - {"tokeniser"}:
        assert set(MEASURES) <= set(figures[name]), name
    assert {"own_type", "round_trip_js", "next_action_nats"} <= set(figures["persona"])
    # the persona here IS the chain: the same crowd, the same figures
    assert figures["persona"]["ara_g"] == figures["markov"]["ara_g"]
    assert figures["persona"]["next_action_nats"] < figures["no_persona"]["next_action_nats"]
    assert said[0] == "persona"


def test_storefronts_draw_numbers_of_their_own(held: HeldOut, cast: Cast) -> None:
    other = replace(held, shop=replace(held.shop, merchant_id="other"))
    assert Comparison(held, cast, PLAN).seed == Comparison(held, cast, PLAN).seed != Comparison(other, cast, PLAN).seed


def test_figures_are_kept_by_what_was_compared(held: HeldOut) -> None:
    mix = mix_of("other", "", held.past.traces.code, 0)
    few = replace(held, future=replace(held.future, log=held.future.log.select(np.arange(len(held.future) - 1))))
    odd = replace(held, shop=replace(held.shop, merchant_id="a/b"))
    names = [storefront_name(one, others) for one in (held, few, odd) for others in ((), (mix,))]
    assert len(set(names)) == len(names) and all(name.isalnum() for name in names)
    assert storefront_name(held, (mix,)) == names[1]


def test_the_same_seed_gives_the_same_figures(held: HeldOut, cast: Cast) -> None:
    alone = replace(cast, others={}, chain=None, training=None)
    plan = replace(PLAN, derangements=1, other_mixes=0)
    first, again = (json.dumps(Comparison(held, alone, plan).run({})) for _ in range(2))
    other = json.dumps(Comparison(held, alone, replace(plan, seed=1)).run({}))
    assert first == again != other


def test_types_from_first_events_and_from_earlier_sessions(held: HeldOut, cast: Cast) -> None:
    comparison = Comparison(held, cast, PLAN)
    comparison.run({})
    assert cast.training is not None
    early = EarlyTypes.learn(cast.training.log, cast.training.traces.code, cast.encoder)
    figures = by_first_events(comparison, early)
    assert set(MEASURES) <= set(figures["first_three"])
    assert figures["first_three"]["log_loss_saved"] <= 1.0
    assert by_earlier_session(comparison, cast.persona) == {}  # nobody in the toy log comes twice


def test_buyers_who_came_before_are_played_by_their_earlier_type(held: HeldOut, cast: Cast) -> None:
    returning = replace(held.future.log, key=held.past.log.key)
    comparison = Comparison(replace(held, future=replace(held.future, log=returning)), cast, PLAN)
    comparison.run({})
    figures = by_earlier_session(comparison, cast.persona)
    assert set(figures) == {"earlier_floor", "earlier", "earlier_no_persona"}
    assert set(MEASURES) | {"log_loss_saved"} <= set(figures["earlier"])


def test_a_buyer_s_type_is_told_by_all_their_earlier_sessions(held: HeldOut, cast: Cast) -> None:
    posterior = cast.encoder.encode(held.past.log.batch(), posterior=True).posterior
    assert posterior is not None
    once, twice = told_before(cast.encoder, held.past.log, np.array([3, 3]), np.array([4, 5]))
    assert once == pytest.approx(posterior[3], abs=1e-6)
    assert twice == pytest.approx(posterior[3:5].mean(axis=0), abs=1e-6)


def test_early_types_sum_to_a_mix(cast: Cast, held: HeldOut) -> None:
    assert cast.training is not None
    early = EarlyTypes.learn(cast.training.log, cast.training.traces.code, cast.encoder)
    from agent_runtime.alignment.early_types import cells

    mix, chances = early.told(cells(held.future.log, cast.encoder))
    assert mix.sum() == pytest.approx(1.0)
    assert chances.sum(axis=1) == pytest.approx(np.ones(60))


def test_align_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], toy_log: tuple[Path, Path], tmp_path: Path, write_log: Callable[..., Path]
) -> None:
    from infra.cli.main import main

    folder = write_untrained(tmp_path / "encoder", 1)
    for arguments, sentence in (
        (("--untyped", "no_persona"), "write it as NAME=DIR"),
        (("--simulator", str(tmp_path / "absent")), "no simulator there"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["align", "--events", str(toy_log[0]), "--encoder", str(folder), *arguments])
        assert ended.value.code == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
