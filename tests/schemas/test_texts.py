"""Columns of text: what goes in comes out, whatever buffer it lies in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.texts import Texts

pytestmark = pytest.mark.fast

words = st.lists(st.text(max_size=6))
#: The first call compiles.
compiling = settings(deadline=None)


@compiling
@given(words)
def test_texts_come_out_as_they_went_in(values: list[str]) -> None:
    texts = Texts.of(values)
    assert texts.tolist() == list(texts) == [texts[row] for row in range(len(texts))] == values


@compiling
@given(words, st.data())
def test_some_rows_are_those_rows(values: list[str], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    chosen = Texts.of(values)[np.array(kept, dtype=np.bool_)]
    assert chosen.tolist() == [value for value, keep in zip(values, kept, strict=True) if keep]
    assert chosen.packed()[0].tobytes().decode() == "".join(chosen.tolist())


@compiling
@given(st.lists(words, min_size=1, max_size=4))
def test_columns_are_joined_in_order(parts: list[list[str]]) -> None:
    joined = Texts.joined([Texts.of(part) for part in parts])
    assert joined.tolist() == [value for part in parts for value in part]


@compiling
@given(words)
def test_distinct_names_every_text_once(values: list[str]) -> None:
    texts = Texts.of(values)
    rows, which = texts.distinct()
    assert sorted(texts[rows].tolist()) == sorted(set(values))
    assert [texts[int(rows[one])] for one in which] == values


def test_fixed_width_texts_lose_their_padding() -> None:
    assert Texts.fixed(np.array([b"0123", b"", b"ab"], dtype="S4")).tolist() == ["0123", "", "ab"]
    assert Texts.chosen(["a", "bc", ""], np.array([1, -1, 0])).tolist() == ["bc", "", "a"]
