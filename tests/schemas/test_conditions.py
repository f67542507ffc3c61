"""What is told of a storefront: a small file, checked line by line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.conditions import BOUNDS, NOTHING_TOLD, Conditions, ConditionsError, read_conditions, write_conditions

pytestmark = pytest.mark.fast

conditions = st.builds(
    Conditions,
    price_level=st.floats(*BOUNDS["price_level"]),
    free_shipping=st.booleans(),
    ranking=st.floats(*BOUNDS["ranking"]),
    page_delay_s=st.floats(*BOUNDS["page_delay_s"]),
)


@given(told=st.dictionaries(st.text(min_size=1), conditions, max_size=4))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, told: dict[str, Conditions]) -> None:
    path = tmp_path_factory.mktemp("told") / "storefronts.jsonl"
    write_conditions(path, told)
    assert read_conditions([path]) == told


def test_what_is_not_named_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "storefronts.jsonl"
    path.write_text('{"merchant_id": "a"}\n{"merchant_id": "b", "price_level": 2}\n')
    assert read_conditions([path]) == {"a": NOTHING_TOLD, "b": Conditions(price_level=2)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"merchant_id": "a", "price_level": 9}', "price_level is 9, expected 0.2 to 5"),
        ('{"merchant_id": "a", "ranking": true}', "ranking is True, expected a number"),
        ('{"merchant_id": "a", "free_shipping": 1}', "free_shipping is 1, expected true or false"),
        ('{"merchant_id": "a", "colour": "red"}', "'colour' is no condition"),
        ('{"price_level": 1}', "line 2: no JSON object with a merchant_id"),
        ("[]", "line 2: no JSON object with a merchant_id"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "storefronts.jsonl"
    path.write_text('{"merchant_id": "fine"}\n' + line + "\n")
    with pytest.raises(ConditionsError, match=words) as raised:
        read_conditions([path])
    assert "line 2" in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConditionsError) as raised:
        read_conditions([tmp_path / "nowhere.jsonl"])
    missing = tmp_path / "nowhere.jsonl"
    assert str(raised.value) == f"{missing}: no conditions there (No such file or directory); name another file."
