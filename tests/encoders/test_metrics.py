import numpy as np
import pytest

from encoders.metrics import agreement_by_length, calibration_error, explained, nmi, perplexity, same_buyer_agreement

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 0, 0], 1.0), ([0, 1, 2, 3], 4.0), ([0, 0, 1, 1], 2.0), ([3, 3, 3, 1], 1.7548)]
)
def test_perplexity_counts_codes_in_use(codes: list[int], expected: float) -> None:
    assert perplexity(np.array(codes), 4) == pytest.approx(expected, abs=1e-3)


def test_nmi_knows_no_names() -> None:
    assert nmi(np.array([1, 1, 0, 0]), np.array([5, 5, 9, 9])) == pytest.approx(1.0)
    assert nmi(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])) == pytest.approx(0.0)


def test_calibration_error_is_zero_for_honest_confidence_and_large_for_boasting() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(20_000)
    right = random.random(20_000) < confidence
    assert calibration_error(confidence, right) < 0.015
    assert calibration_error(np.full(20_000, 0.99), right) == pytest.approx(0.49, abs=0.02)


def test_nothing_is_said_of_the_calibration_of_no_codes() -> None:
    assert np.isnan(calibration_error(np.empty(0), np.empty(0, bool)))


def test_same_buyer_agreement_beside_chance() -> None:
    key = np.array([1, 1, 2, 2, 3], np.uint64)
    agree, chance = same_buyer_agreement(np.array([0, 0, 0, 1, 1]), key, np.zeros(5, np.int32))
    assert (agree, chance) == (0.5, pytest.approx(0.52))


def test_same_buyer_agreement_without_pairs_does_not_exist() -> None:
    agree, chance = same_buyer_agreement(np.array([0, 1]), np.array([1, 2], np.uint64), np.zeros(2, np.int32))
    assert np.isnan(agree) and np.isnan(chance)


def test_agreement_by_length_leaves_out_lengths_that_never_occur() -> None:
    early, final, lengths = np.array([0, 1, 2, 2]), np.array([0, 0, 2, 1]), np.array([1, 1, 2, 2])
    assert agreement_by_length(early, final, lengths, (1, 2, 3)) == {1: (0.5, 2), 2: (0.5, 2)}


def test_a_code_that_is_the_outcome_explains_it_and_a_random_one_does_not() -> None:
    random = np.random.default_rng(0)
    bought = random.random(5000) < 0.2
    assert explained(bought.astype(int), bought) > 0.99
    assert abs(explained(random.integers(0, 8, 5000), bought)) < 0.01


def test_a_sure_outcome_leaves_nothing_to_explain() -> None:
    assert np.isnan(explained(np.zeros(3, int), np.zeros(3, bool)))
