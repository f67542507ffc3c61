from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.codebook import LENGTH_BOUNDS, Codebook, length_bucket
from encoders.errors import ArtefactError

pytestmark = pytest.mark.fast


def _unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _codebook(coarse: int = 5, fine: int = 3, seed: int = 0) -> Codebook:
    random = np.random.default_rng(seed)
    plain = Codebook.uncalibrated(_unit(random, coarse, 4), _unit(random, coarse, fine, 2))
    scale = random.uniform(0.5, 8.0, plain.coarse_scale.shape).astype(np.float32)
    bias = random.normal(size=plain.coarse_bias.shape).astype(np.float32)
    fine_scale = random.uniform(0.5, 8.0, plain.fine_scale.shape).astype(np.float32)
    return Codebook(plain.coarse, plain.fine, scale, bias, fine_scale)


def _latents(count: int, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([_unit(random, count, 4), _unit(random, count, 2)], axis=1)


@pytest.mark.parametrize(
    ("coarse", "fine", "first", "last"),
    [(16, 4, "c00.f0", "c15.f3"), (3, 1, "c00", "c02"), (200, 2, "c000.f0", "c199.f1")],
)
def test_paths_are_coarse_first(coarse: int, fine: int, first: str, last: str) -> None:
    paths = _codebook(coarse, fine).paths()
    assert (paths[0], paths[-1], len(paths)) == (first, last, coarse * fine)
    assert paths == sorted(paths)


def test_a_vector_finds_itself() -> None:
    codebook = _codebook()
    latents = np.concatenate([np.repeat(codebook.coarse, 3, axis=0), codebook.fine.reshape(-1, 2)], axis=1)
    assert codebook.assign(latents, np.full(15, 4)).code.tolist() == list(range(15))


def test_the_posterior_is_a_distribution_and_holds_the_confidence() -> None:
    codebook = _codebook()
    lengths = np.random.default_rng(2).integers(1, 40, 100)
    codes = codebook.assign(_latents(100), lengths, posterior=True)
    assert codes.posterior is not None
    assert codes.posterior.shape == (100, 15)
    assert np.allclose(codes.posterior.sum(1), 1.0, atol=1e-5)
    assert np.array_equal(codes.posterior[np.arange(100), codes.code], codes.confidence)


def test_without_the_posterior_codes_and_confidences_are_the_same() -> None:
    codebook, lengths = _codebook(), np.full(50, 3)
    short, long = codebook.assign(_latents(50), lengths), codebook.assign(_latents(50), lengths, posterior=True)
    assert short.posterior is None
    assert np.array_equal(short.code, long.code)
    assert np.array_equal(short.confidence, long.confidence)


@settings(deadline=None)  # the first example compiles
@given(st.lists(st.integers(0, 39), min_size=1, max_size=60))
def test_a_row_is_the_same_in_any_company(rows: list[int]) -> None:
    codebook, latents, lengths = _codebook(), _latents(40), np.arange(40) + 1
    whole = codebook.assign(latents, lengths, posterior=True)
    part = codebook.assign(latents[rows], lengths[rows], posterior=True)
    assert np.array_equal(part.code, whole.code[rows])
    assert np.array_equal(part.confidence, whole.confidence[rows])
    assert part.posterior is not None and whole.posterior is not None
    assert np.array_equal(part.posterior, whole.posterior[rows])


def test_lengths_fall_into_their_buckets() -> None:
    assert length_bucket(np.array([1, 2, 6, 7, 8, 9, 16, 17, 500])).tolist() == [0, 1, 5, 6, 6, 7, 8, 9, 9]
    assert len(LENGTH_BOUNDS) == 9


def test_saved_and_loaded_it_is_the_same_and_its_bytes_too(tmp_path: Path) -> None:
    codebook = _codebook()
    codebook.save(tmp_path / "one.npz")
    codebook.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = Codebook.load(tmp_path / "one.npz")
    for name in Codebook.__slots__:
        assert np.array_equal(getattr(loaded, name), getattr(codebook, name))


@pytest.mark.parametrize("content", [b"", b"not a codebook", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_codebook_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "codebook.npz").write_bytes(content)
    with pytest.raises(ArtefactError, match="not a codebook"):
        Codebook.load(tmp_path / "codebook.npz")
