import numpy as np
import pytest

from encoders.calibration import calibrate, draw_beginnings
from encoders.codebook import Codebook, length_bucket

pytestmark = pytest.mark.fast


def test_beginnings_reach_every_bucket_that_a_session_reaches() -> None:
    begun = draw_beginnings(np.array([1, 3, 40]), seed=0)
    assert begun.row.tolist().count(0) == 1
    assert begun.row.tolist().count(1) == 3
    assert begun.row.tolist().count(2) == 10
    assert sorted(length_bucket(begun.lengths[begun.row == 2]).tolist()) == list(range(10))
    assert (begun.lengths <= np.array([1, 3, 40])[begun.row]).all()


def test_mean_confidence_becomes_the_hit_rate_in_every_bucket() -> None:
    random = np.random.default_rng(0)
    unit = np.eye(4, dtype=np.float32)
    codebook = Codebook.uncalibrated(unit[:3], np.stack([unit[:2, :2]] * 3))
    final = random.integers(0, 6, 6000).astype(np.int32)
    lengths = random.choice(np.array([1, 6, 30]), 6000)
    noise = np.where(lengths == 1, 1.5, np.where(lengths == 6, 0.7, 0.3))[:, None]
    kind = unit[final // 2] + noise * random.normal(size=(6000, 4))
    style = unit[final % 2, :2] + noise * random.normal(size=(6000, 2))
    latents = np.concatenate(
        [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (kind, style)], axis=1
    ).astype(np.float32)
    codes = calibrate(codebook, latents, lengths, final).assign(latents, lengths, posterior=True)
    for length in (1, 6, 30):
        own = lengths == length
        assert codes.confidence[own].mean() == pytest.approx((codes.code == final)[own].mean(), abs=0.02)
    sure = codes.confidence > np.median(codes.confidence)
    assert (codes.code == final)[sure].mean() > (codes.code == final)[~sure].mean() + 0.1
