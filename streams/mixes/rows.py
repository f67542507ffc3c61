"""Mixes on their way to the store: whose they are, and their columns."""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.mixes.decay import Mix


class MixKey(NamedTuple):
    """Whose mix: one merchant's sessions from one source; sources never mix."""

    merchant_id: str
    source: str


class MixRows:
    """Mixes to be stored, one row per code of each; times in ms UTC."""

    def __init__(self) -> None:
        self._owners: list[tuple[str, str, str, int, str]] = []
        self._mixes: list[Mix] = []

    def __len__(self) -> int:
        return sum(len(mix.codes) for mix in self._mixes)

    def add(self, mix_key: MixKey, version: str, window: str, start_ms: int, mix: Mix) -> None:
        """Append one row per code of a mix."""
        self._owners.append((mix_key.merchant_id, mix_key.source, window, start_ms, version))
        self._mixes.append(mix)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of ``merchant_distributions``, (n,) each, without ``emitted_at``."""
        repeats = np.array([len(mix.codes) for mix in self._mixes], dtype=np.int64)

        def each(values: Iterable[object], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.repeat(np.array(list(values), dtype=dtype), repeats)

        def chained(values: Iterable[list[int] | list[float]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.fromiter(itertools.chain.from_iterable(values), dtype, int(repeats.sum()))

        owners = list(zip(*self._owners, strict=True)) or [()] * 5
        merchant_id, source, window, window_start, version = owners
        return {
            "merchant_id": each(merchant_id, object),
            "window": each(window, object),
            "window_start": each(window_start, np.int64),
            "codebook_version": each(version, object),
            "source": each(source, object),
            "code": chained((mix.codes for mix in self._mixes), np.int32),
            "weight": chained((mix.weights for mix in self._mixes), np.float64),
            "sessions": chained((mix.sessions for mix in self._mixes), np.int64),
            "total": each((mix.total for mix in self._mixes), np.int64),
            "n_effective": each((mix.n_effective for mix in self._mixes), np.float64),
        }
