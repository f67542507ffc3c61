import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encoders.feature_spec import (
    CONTEXT_FEATURES,
    FEATURE_REVISION,
    SUMMARY_FEATURES,
    TOKEN_FEATURES,
    feature_spec_hash,
)
from encoders.features import PART, Features, described_features, session_features
from schemas.events import EVENT, Events
from schemas.taxonomy import EVENT_CODES

pytestmark = pytest.mark.fast

NOON_ON_A_SATURDAY_MS = 1_704_542_400_000  # 6 January 2024, 12:00 UTC


def _event(at_s: float, name: str, **fields: float) -> Events:
    event = np.zeros(1, EVENT)
    event["t"], event["event"], event["price"] = NOON_ON_A_SATURDAY_MS + at_s * 1000, EVENT_CODES[name], np.nan
    for field, value in fields.items():
        event[field] = value
    return event


def _features(events: Events, length: int | None = None) -> Features:
    return session_features(events, np.array([0]), np.array([len(events) if length is None else length]))


def _token(features: Features, place: int) -> dict[str, float]:
    """The token's features that are not zero, rounded."""
    values = features.tokens[place, 0]
    return {TOKEN_FEATURES[i]: round(float(values[i]), 3) for i in np.flatnonzero(values)}


def _summary(features: Features) -> dict[str, float]:
    return dict(zip(SUMMARY_FEATURES, features.summaries[0].tolist(), strict=True))


events_strategy = st.lists(
    st.tuples(
        st.integers(0, 10**7),  # pause in ms
        st.integers(0, 255),  # event
        st.integers(0, 5),  # product
        st.integers(0, 3),  # category
        st.integers(0, 3),  # query
        st.sampled_from([float("nan"), 0.0, 1.0, 250.0, 999.0, 3e9]),
        st.integers(0, 65_535),  # quantity
        st.integers(0, 255),  # device
        st.integers(0, 255),  # referrer
    ),
    min_size=1,
    max_size=60,
)


def _session(rows: list[tuple[int, int, int, int, int, float, int, int, int]]) -> Events:
    events = np.zeros(len(rows), EVENT)
    names = ("event", "product", "category", "query", "price", "quantity", "device", "referrer")
    for place, (_, *values) in enumerate(rows):
        for name, value in zip(names, values, strict=True):
            events[place][name] = value
    events["t"] = NOON_ON_A_SATURDAY_MS + np.cumsum([row[0] for row in rows])
    return events


def test_a_session_reads_as_its_relations_to_itself() -> None:
    session = np.concatenate(
        [
            _event(0, "product_viewed", product=7, category=1, price=1000, quantity=1),
            _event(5, "product_viewed", product=8, category=2, price=2000, quantity=1),
            _event(35, "product_viewed", product=7, category=1, price=1000, quantity=1),
            _event(36, "product_added_to_cart", product=7, category=1, price=1000, quantity=3),
        ]
    )
    features = _features(session)
    assert _token(features, 0) == {"is_product_viewed": 1, "product_new": 1, "category_new": 1, "has_price": 1}
    assert _token(features, 1) == {
        "is_product_viewed": 1, "gap_bucket_1": 1, "log_gap": 0.448, "log_elapsed": 0.299, "log_position": 0.231,
        "product_new": 1, "category_new": 1, "has_price": 1, "price_to_mean": 0.693, "price_to_previous": 0.693,
        "price_highest": 1,
    }  # fmt: skip
    assert _token(features, 2) == {
        "is_product_viewed": 1, "gap_bucket_3": 1, "log_gap": 0.858, "log_elapsed": 0.597, "log_position": 0.366,
        "product_return": 1, "log_product_visits": 0.693, "category_return": 1, "has_price": 1,
        "price_to_mean": -0.405, "price_to_previous": -0.693,
    }  # fmt: skip
    assert _token(features, 3) == {
        "is_product_added_to_cart": 1, "gap_bucket_0": 1, "log_gap": 0.173, "log_elapsed": 0.602, "log_position": 0.462,
        "product_same": 1, "log_product_visits": 1.099, "category_same": 1, "has_price": 1, "price_to_mean": -0.288,
        "log_cart": 1.386, "log_quantity": 1.099,
    }  # fmt: skip
    summary = _summary(features)
    assert summary["log_product_viewed"] == pytest.approx(np.log(4))
    assert summary["log_views_before_cart"] == pytest.approx(np.log(4))
    assert summary["product_return_share"] == pytest.approx(0.25)
    assert summary["log_products"] == pytest.approx(np.log(3))
    assert summary["log_duration"] == pytest.approx(np.log(37))


def test_queries_are_new_the_same_or_refined() -> None:
    searches = [_event(place, "search_submitted", query=query) for place, query in enumerate((5, 5, 6, 5))]
    features = _features(np.concatenate(searches))
    seen = [[name for name in _token(features, place) if name.startswith("query")] for place in range(4)]
    assert seen == [["query_new"], ["query_same"], ["query_refined"], ["query_refined"]]


def test_context_knows_hour_weekday_and_device() -> None:
    session = np.concatenate([_event(0, "page_viewed"), _event(1, "page_viewed", device=2)])
    context = dict(zip(CONTEXT_FEATURES, _features(session).contexts[0].tolist(), strict=True))
    assert context == pytest.approx(
        {"hour_sin": 0, "hour_cos": -1, "weekend": 1, "device_desktop": 0, "device_mobile": 1, "device_tablet": 0},
        abs=1e-6,
    )


@given(events_strategy)
@settings(max_examples=60, deadline=None)  # the first example compiles
def test_features_are_finite_whatever_the_events(
    rows: list[tuple[int, int, int, int, int, float, int, int, int]],
) -> None:
    features = _features(_session(rows))
    for part in (features.tokens, features.summaries, features.contexts):
        assert np.isfinite(part).all()


@given(events_strategy, st.integers(1, 60))
@settings(max_examples=60, deadline=None)  # the first example compiles
def test_a_beginning_reads_as_a_session_that_has_only_begun(
    rows: list[tuple[int, int, int, int, int, float, int, int, int]], shown: int
) -> None:
    session = _session(rows)
    shown = min(shown, len(session))
    beginning, alone = _features(session, shown), _features(session[:shown].copy())
    assert np.array_equal(beginning.tokens, alone.tokens)
    assert np.array_equal(beginning.summaries, alone.summaries)
    assert np.array_equal(beginning.tokens, _features(session).tokens[:shown]), "no token may look ahead"


@given(events_strategy, st.integers(1, 2**31), st.sampled_from([0.25, 4.0, 1024.0]), st.integers(-50, 50))
@example([(0, 4, 0, 0, 0, 1.0, 0, 0, 0)], 1, 1024.0, 0)  # one price has no spread, however high
@settings(max_examples=60, deadline=None)  # the first example compiles
def test_identities_price_level_and_date_leave_no_trace(
    rows: list[tuple[int, int, int, int, int, float, int, int, int]], salt: int, factor: float, weeks: int
) -> None:
    session = _session(rows)
    elsewhere = session.copy()
    for name in ("product", "category", "query"):
        elsewhere[name] = np.where(session[name] == 0, 0, session[name] + np.uint32(salt))
    elsewhere["price"] *= np.float32(factor)
    elsewhere["t"] += weeks * 7 * 86_400_000
    elsewhere["id"] = 99
    here, there = _features(session), _features(elsewhere)
    for part in ("tokens", "summaries", "contexts"):
        assert np.allclose(getattr(here, part), getattr(there, part), atol=1e-3)


def test_what_was_read_before_gets_no_token_and_the_rest_the_same() -> None:
    session = np.concatenate([_event(place * place, "product_viewed", product=place + 1) for place in range(100)])
    whole = _features(session)
    rest = session_features(session, np.array([0]), np.array([100]), read=np.array([60], np.int32))
    assert np.array_equal(rest.tokens, whole.tokens[60:])
    assert np.array_equal(rest.summaries, whole.summaries)


def test_a_session_that_is_over_has_one_more_token_that_says_so() -> None:
    session = np.concatenate([_event(place, "product_viewed", product=place + 1) for place in range(6)])
    starts, lengths, read = np.zeros(3, np.int64), np.array([6, 6, 2]), np.array([0, 6, 0], np.int32)
    features = session_features(session, starts, lengths, np.array([True, True, False]), read)
    assert _token(features, 6) == {"session_ended": 1.0}
    assert np.array_equal(features.tokens[:6, 0], _features(session).tokens[:, 0])
    assert np.array_equal(features.tokens[0, 1], features.tokens[6, 0])  # all was read before but that
    assert not features.tokens[1:, 1].any() and not features.tokens[2:, 2].any()
    assert np.array_equal(features.summaries[:2], np.repeat(_features(session).summaries, 2, axis=0))


def test_padding_is_zero_and_rows_do_not_touch() -> None:
    session = np.concatenate([_event(place, "product_viewed", product=place + 1) for place in range(6)])
    both = session_features(session, np.array([0, 0]), np.array([2, 6]))
    assert not both.tokens[2:, 0].any()
    assert np.array_equal(both.tokens[:, 1], _features(session).tokens[:, 0])


def test_described_features_are_summaries_beside_contexts() -> None:
    session = np.concatenate([_event(place, "product_viewed", product=place + 1, device=1) for place in range(5)])
    starts, lengths = np.zeros(PART + 3, np.int64), np.arange(PART + 3) % 5 + 1
    features = session_features(session, starts, lengths)
    described = described_features(session, starts, lengths)
    assert np.array_equal(described, np.concatenate([features.summaries, features.contexts], axis=1))


def test_no_session_gives_no_row() -> None:
    features = session_features(np.zeros(0, EVENT), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert features.tokens.shape[1] == len(features.summaries) == len(features.contexts) == 0


def test_the_spec_hash_belongs_to_the_revision() -> None:
    """A change of meaning must come with a new revision, or old encoders would be fed what they do not know."""
    assert {FEATURE_REVISION: feature_spec_hash()} == {
        3: "b0be86cdae952fd322fa45aee8adebf260609efcc529f2817e4f54a2457dc576"
    }
