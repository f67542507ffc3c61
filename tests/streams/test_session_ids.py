"""The set of session ids against Python's own set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.mixes import session_ids
from streams.mixes.session_ids import SessionIds, numbers_of

pytestmark = pytest.mark.fast


@given(st.lists(st.lists(st.integers(0, 60)), max_size=20), st.sampled_from([1, 3, 1_024]))
def test_an_id_is_new_exactly_once(batches: list[list[int]], recent_max: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_ids, "RECENT_MAX", recent_max)
        ids, reference = SessionIds(), set[int]()
        for batch in batches:
            expected = []
            for number in batch:
                expected.append(number not in reference)
                reference.add(number)
            assert ids.add(np.array(batch, np.uint64)).tolist() == expected
        assert len(ids) == len(reference)


def test_a_million_ids_have_numbers_of_their_own() -> None:
    ids = np.array([b"%016x" % number for number in range(0, 1_000_000_000_000, 1_000_000)])
    assert ids.dtype == "S16"
    assert len(np.unique(numbers_of(ids))) == len(ids)
