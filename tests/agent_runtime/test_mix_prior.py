"""What merchants' mixes have in common: learnt from many, and what it does to the mix of one."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.crowds.fidelity import jensen_shannon
from agent_runtime.population.population import Mix
from agent_runtime.population.prior import LEAST_MERCHANTS, MixPrior, steadied

pytestmark = pytest.mark.fast

TYPES, FINE = 6, 3
WORTH_TYPES, WORTH_CODES = 12.0, 60.0
F64 = npt.NDArray[np.float64]


def drawn_mixes(random: np.random.Generator, merchants: int) -> F64:
    """Mixes (M, K) of a world whose prior is known."""
    mean = np.arange(1, TYPES + 1) / np.arange(1, TYPES + 1).sum()
    types = random.dirichlet(WORTH_TYPES * mean, size=merchants)
    within = random.dirichlet(WORTH_CODES * np.array([0.5, 0.3, 0.2]), size=(merchants, TYPES))
    return np.asarray((types[:, :, None] * within).reshape(merchants, -1))


def learnt(random: np.random.Generator, mixes: F64, sessions: int) -> MixPrior | None:
    codes = [random.choice(mixes.shape[1], sessions, p=mix) for mix in mixes]
    merchant = np.repeat(np.arange(len(mixes)), sessions).astype(np.int32)
    return MixPrior.learn(np.concatenate(codes).astype(np.int32), merchant, len(mixes), mixes.shape[1], FINE)


@pytest.fixture(scope="module")
def prior() -> MixPrior:
    random = np.random.default_rng(1)
    found = learnt(random, drawn_mixes(random, 80), 500)
    assert found is not None
    return found


def of_counts(counts: F64) -> Mix:
    weights = {int(code): float(counts[code] / counts.sum()) for code in np.flatnonzero(counts)}
    return Mix("m", "cb", 0, float(counts.sum()), weights)


def shares(mix: Mix) -> F64:
    return np.array([mix.weights.get(code, 0.0) for code in range(TYPES * FINE)])


def test_how_much_merchants_differ_is_read_off_their_counts(prior: MixPrior) -> None:
    assert prior.types == pytest.approx(WORTH_TYPES, rel=0.25)
    assert prior.codes == pytest.approx(WORTH_CODES, rel=0.25)
    assert prior.shares.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("sessions", [30, 100, 300])
def test_a_steadied_mix_is_nearer_to_the_truth(prior: MixPrior, sessions: int) -> None:
    random = np.random.default_rng(2)
    truth = drawn_mixes(random, 60)
    counted = [of_counts(random.multinomial(sessions, mix).astype(np.float64)) for mix in truth]
    steady = [prior.steadied(one) for one in counted]

    def off(mixes: list[Mix]) -> float:
        return float(np.mean([jensen_shannon(mix, shares(one)) for mix, one in zip(truth, mixes, strict=True)]))

    assert off(steady) < 0.85 * off(counted)


@given(st.lists(st.integers(0, 50), min_size=TYPES * FINE, max_size=TYPES * FINE).filter(any))
def test_a_steadied_mix_is_a_mix_and_lies_between(counts: list[int]) -> None:
    random = np.random.default_rng(3)
    prior = MixPrior(random.dirichlet(np.ones(TYPES * FINE)), FINE, 20.0, 80.0)
    mix = of_counts(np.array(counts, np.float64))
    found = shares(prior.steadied(mix))
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0).all()
    by_type = [each.reshape(TYPES, FINE).sum(axis=1) for each in (shares(mix), found, prior.shares)]
    low, high = np.minimum(by_type[0], by_type[2]), np.maximum(by_type[0], by_type[2])
    assert ((by_type[1] >= low - 1e-9) & (by_type[1] <= high + 1e-9)).all()


def test_many_sessions_speak_for_themselves(prior: MixPrior) -> None:
    counts = 1e7 * drawn_mixes(np.random.default_rng(4), 1)[0]
    assert shares(prior.steadied(of_counts(counts))) == pytest.approx(shares(of_counts(counts)), abs=1e-4)


def test_too_few_merchants_or_one_type_say_nothing() -> None:
    random = np.random.default_rng(5)
    assert learnt(random, drawn_mixes(random, LEAST_MERCHANTS - 1), 50) is None
    alone = np.zeros(30, np.int32)
    assert MixPrior.learn(alone, np.arange(30, dtype=np.int32), 30, 1, 1) is None
    mix = Mix("m", "cb", 0, 5.0, {0: 1.0})
    assert steadied(mix, None) is mix


def test_it_comes_back_from_its_file(prior: MixPrior, tmp_path: Path) -> None:
    prior.save(tmp_path / "mixes.npz")
    prior.save(tmp_path / "again.npz")
    found = MixPrior.load(tmp_path / "mixes.npz")
    assert (found.fine, found.types, found.codes) == (prior.fine, prior.types, prior.codes)
    assert np.array_equal(found.shares, prior.shares)
    assert (tmp_path / "mixes.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
