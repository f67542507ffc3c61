from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from encoders.batches import BatchSource, outcomes
from encoders.errors import TrainingDataError
from encoders.export import to_onnx
from encoders.feature_spec import TOKEN_FEATURES
from encoders.metrics import nmi
from encoders.model import Shape
from encoders.training import LEAST_SESSIONS, TrainingOptions, split_held_out, torch_latents, train
from schemas.taxonomy import EVENT_CODES, STRATUM_OF_EVENT

CPU = torch.device("cpu")
ENDED = TOKEN_FEATURES.index("session_ended")


def test_planted_types_are_found_at_merchants_never_seen(small: Any) -> None:
    assert small.fitted.metrics["coarse_nmi"] > 0.7
    assert small.fitted.metrics["coarse_codes_in_use"] == 6
    assert small.fitted.metrics["same_buyer_agreement"] > 2 * small.fitted.metrics["same_buyer_chance"]


def test_more_events_bring_the_code_nearer_to_the_final_one(small: Any) -> None:
    early = small.fitted.metrics["early_agreement"]
    assert early["2"] < early["5"] < early["10"]


def test_confidences_are_calibrated(small: Any) -> None:
    assert small.fitted.metrics["calibration_error"] < 0.08


def test_equal_seeds_give_equal_encoders_and_other_seeds_others(populate: Callable[[int, int, int], Any]) -> None:
    log = populate(6, 40, 2).log
    training, held_out = split_held_out(log, 0)

    def network(seed: int) -> tuple[bytes, list[float]]:
        options = TrainingOptions(Shape(width=8, hidden=8, coarse=4, fine=2), epochs=2, batch=64, seed=seed)
        trained = train(training, held_out, options, CPU)
        return to_onnx(trained.encoder), trained.quantiser.coarse.vectors.flatten().tolist()

    assert network(1) == network(1)
    assert network(1) != network(2)


def test_the_global_random_state_is_left_alone(populate: Callable[[int, int, int], Any]) -> None:
    training, held_out = split_held_out(populate(6, 40, 2).log, 0)
    before = torch.random.get_rng_state()
    train(training, held_out, TrainingOptions(Shape(width=8, hidden=8, coarse=4, fine=1), epochs=2, batch=64), CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_trained_without_quantisation_gets_its_codebook_at_the_end(
    populate: Callable[[int, int, int], Any],
) -> None:
    training, held_out = split_held_out(populate(6, 40, 2).log, 0)
    shape = Shape(width=8, hidden=8, coarse=4, fine=2)
    trained = train(training, held_out, TrainingOptions(shape, epochs=2, batch=64, warmup_share=1.0), CPU)
    assert all(report.restarted == 0 for report in trained.history)
    lengths = trained.quantiser.coarse.vectors.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    coarse, _ = trained.quantiser.codes(torch_latents(trained.encoder, held_out))
    assert len(coarse.unique()) > 1


def test_too_few_sessions_are_one_sentence(populate: Callable[[int, int, int], Any]) -> None:
    log = populate(1, 40, 2).log
    few = log.select(np.arange(LEAST_SESSIONS // 10))
    with pytest.raises(TrainingDataError, match="training part: only 20 sessions; give more events"):
        train(few, few, TrainingOptions(), CPU)


@pytest.mark.fast
def test_whole_merchants_are_held_out(populate: Callable[[int, int, int], Any]) -> None:
    training, held_out = split_held_out(populate(10, 10, 1).log, seed=3)
    assert len(np.unique(held_out.merchant)) == 2
    assert not set(training.merchant) & set(held_out.merchant)


@pytest.mark.fast
def test_whole_buyers_are_held_out_where_merchants_are_few(populate: Callable[[int, int, int], Any]) -> None:
    training, held_out = split_held_out(populate(2, 200, 1).log, seed=3)
    assert not set(training.key) & set(held_out.key)
    assert 0.1 < len(held_out) / (len(training) + len(held_out)) < 0.3


@pytest.mark.fast
def test_every_session_is_shown_whole_and_as_often_as_asked_as_a_beginning_too(
    populate: Callable[[int, int, int], Any],
) -> None:
    log = populate(4, 60, 1).log
    whole = next(BatchSource(log, 128, 0, CPU, beginning_share=0.0).epoch())
    assert torch.equal(whole.summaries, whole.whole)
    assert torch.equal(whole.session, torch.arange(len(whole.session)))
    begun = next(BatchSource(log, 128, 0, CPU, beginning_share=1.0).epoch())
    size = len(whole.session)
    assert torch.equal(begun.session, torch.arange(size).repeat(2))
    assert torch.equal(begun.summaries[:size], begun.whole[:size])
    assert torch.equal(begun.whole[size:], begun.whole[:size])
    assert (begun.counts[size:] < begun.counts[:size]).all()  # one of all events lacks the token that says it is over
    assert begun.tokens[:, :size, ENDED].sum() == size and not begun.tokens[:, size:, ENDED].any()


@pytest.mark.fast
def test_pairs_are_two_sessions_of_one_buyer_among_rivals(populate: Callable[[int, int, int], Any]) -> None:
    log = populate(4, 60, 1).log
    source = BatchSource(log, 128, 0, CPU)
    batch = next(source.epoch())
    assert batch.pairs > 10
    rows = batch.merchant[: 2 * batch.pairs].view(-1, 2)
    assert torch.equal(rows[:, 0], rows[:, 1])
    pairs = source._pairs.draw(32, np.random.default_rng(0))
    assert (log.key[pairs[:, 0]] == log.key[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(log.key[pairs[:, 0]])) == len(pairs)


@pytest.mark.fast
def test_buyers_with_one_session_make_no_pair(populate: Callable[[int, int, int], Any]) -> None:
    log = populate(3, 60, 1).log
    _, first = np.unique(log.key, return_index=True)
    batch = next(BatchSource(log.select(np.sort(first)), 64, 0, CPU).epoch())
    assert batch.pairs == 0
    assert int((batch.session == torch.arange(len(batch.session))).sum()) == 64


@pytest.mark.fast
def test_outcomes_are_the_deepest_stratum_and_the_purchase(populate: Callable[[int, int, int], Any]) -> None:
    log = populate(2, 50, 4).log
    log = log.select(np.arange(0, len(log), 2))  # sessions need not lie side by side
    stratum, converted = outcomes(log)
    for row in range(len(log)):
        events = log.events["event"][log.starts[row] : log.starts[row] + log.lengths[row]]
        assert stratum[row] == STRATUM_OF_EVENT[events].max()
        assert converted[row] == (events == EVENT_CODES["checkout_completed"]).any()
    assert nmi(stratum, converted.astype(int)) > 0
