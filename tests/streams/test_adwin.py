"""ADWIN behind its two lines: it rings when a mean rises, not when it falls or stays."""

import subprocess
import sys

import numpy as np
import pytest

from streams.drift.adwin import Adwin

pytestmark = pytest.mark.fast


def rings(numbers: np.ndarray) -> list[int]:
    adwin = Adwin(0.002)
    return [i for i, x in enumerate(numbers.tolist()) if adwin.update(x)]


@pytest.mark.parametrize("seed", range(5))
def test_a_mean_that_rises_rings_soon_and_one_that_stays_or_falls_does_not(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(400)
    step = np.arange(400) >= 200
    assert rings(noise) == []
    assert 200 < rings(noise + 2.0 * step)[0] < 240
    assert rings(noise - 2.0 * step) == []


def test_it_comes_without_the_heavy_rest_of_river() -> None:
    code = (
        "import sys, streams.drift.adwin; print([m for m in ('sklearn', 'pandas', 'river.drift') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
