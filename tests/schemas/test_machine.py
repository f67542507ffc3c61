from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from numba.core.errors import TypingError

from schemas.machine import allocation_free

pytestmark = pytest.mark.fast


class _Columns(NamedTuple):
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]


def test_an_allocation_free_loop_reads_and_writes_what_its_caller_holds() -> None:
    @allocation_free
    def swap(columns: _Columns) -> int:
        for row in range(len(columns.left)):
            columns.left[row], columns.right[row] = columns.right[row], columns.left[row]
        return len(columns.left)

    columns = _Columns(np.arange(3), np.arange(3, 6))
    assert swap(columns) == 3
    assert (columns.left.tolist(), columns.right.tolist()) == ([3, 4, 5], [0, 1, 2])


def test_one_that_allocates_is_not_compiled() -> None:
    @allocation_free
    def squares(n: int) -> npt.NDArray[np.float64]:
        return np.zeros(n)

    with pytest.raises(TypingError):
        squares(3)
