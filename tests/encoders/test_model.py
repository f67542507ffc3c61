import math

import numpy as np
import pytest
import torch

from encoders.batches import next_events
from encoders.feature_spec import SUMMARY_WIDTH, TOKEN_FEATURES, TOKEN_WIDTH
from encoders.model import SessionEncoder, Shape, event_targets, infonce

pytestmark = pytest.mark.fast


def _contrast(kinds: torch.Tensor, merchant: torch.Tensor, temperature: float) -> torch.Tensor:
    """The pair loss of whole sessions among themselves."""
    return infonce(kinds, torch.arange(len(kinds)), kinds, merchant, temperature)


def test_padding_takes_no_part() -> None:
    torch.manual_seed(0)
    encoder = SessionEncoder(Shape(width=8, hidden=8))
    tokens, summaries, counts = torch.randn(6, 3, TOKEN_WIDTH), torch.randn(3, SUMMARY_WIDTH), torch.tensor([2, 6, 4])
    latents = encoder(tokens, counts, summaries)
    for row, count in enumerate(counts.tolist()):
        tokens[count:, row] = torch.randn(6 - count, TOKEN_WIDTH) * 100
    assert torch.equal(encoder(tokens, counts, summaries), latents)
    assert torch.allclose(latents[:, :16].norm(dim=-1), torch.ones(3))
    assert torch.allclose(latents[:, 16:].norm(dim=-1), torch.ones(3))


def test_the_pair_loss_of_strangers_is_the_logarithm_of_their_number() -> None:
    same = torch.ones(8, 4) / 2
    assert float(_contrast(same, torch.zeros(8), 0.1)) == pytest.approx(math.log(7))


def test_the_pair_loss_looks_at_no_other_merchant() -> None:
    """Two shops, in each all buyers alike: recognising the shop wins nothing."""
    kinds = torch.tensor([[1.0, 0]] * 4 + [[0, 1.0]] * 4)
    merchant = torch.tensor([0] * 4 + [1] * 4)
    assert float(_contrast(kinds, merchant, 0.1)) == pytest.approx(math.log(3))


def test_the_pair_loss_of_found_buyers_is_near_zero() -> None:
    kinds = torch.eye(4).repeat_interleave(2, dim=0)
    assert float(_contrast(kinds, torch.zeros(8), 0.05)) < 1e-6


def test_a_beginning_is_asked_for_its_buyers_other_session_not_its_own() -> None:
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 1.0]])
    asked = torch.tensor([0])
    merchant = torch.zeros(4)
    assert float(infonce(whole[1:2], asked, whole, merchant, 0.05)) < 1e-6
    assert float(infonce(whole[0:1], asked, whole, merchant, 0.05)) == pytest.approx(math.log(3))


def test_without_pairs_the_pair_loss_is_zero() -> None:
    assert float(_contrast(torch.zeros(0, 4), torch.zeros(0), 0.1)) == 0.0


def _token(*names: str) -> torch.Tensor:
    token = torch.zeros(TOKEN_WIDTH)
    token[[TOKEN_FEATURES.index(name) for name in names]] = 1.0
    return token


def test_targets_are_classes_of_one_hot_groups() -> None:
    token = _token("is_product_viewed", "gap_bucket_2", "product_same", "category_return")
    assert event_targets(token[None]).tolist() == [[4, 3, 2, 3, 0, 0]]


def test_every_event_is_foretold_from_the_one_before_and_an_end_only_where_it_was_seen() -> None:
    view, cart = _token("is_product_viewed"), _token("is_cart_viewed")
    tokens = torch.stack([torch.stack([view, cart]), torch.stack([cart, torch.zeros(TOKEN_WIDTH)])])  # (T=2, B=2)
    previous, owner, targets = next_events(tokens, np.array([2, 1]), np.array([True, False]))
    told = sorted(
        (session, int(event_targets(before[None])[0, 0]), int(after[0]))
        for session, before, after in zip(owner.tolist(), previous, targets, strict=True)
    )
    start, end = 0, 0
    assert told == sorted([(0, start, 4), (0, 4, 7), (0, 7, end), (1, start, 7)])
