"""Every format's rows become the canonical events that they mean."""

from datetime import UTC, date, datetime

import pyarrow.parquet as pq
import pytest

from encoders.adapters.formats import FORMATS, adapter_of
from encoders.errors import RawLogError
from schemas.taxonomy import EVENT_CODES

pytestmark = pytest.mark.fast

REES46 = """event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:05 UTC,view,11,7,electronics.smartphone,apple,1081.98,u1,s1
2019-10-01 00:00:05 UTC,cart,11,7,electronics.smartphone,apple,1081.98,u1,s1
2019-10-01 00:00:09 UTC,purchase,11,7,electronics.smartphone,apple,1081.98,u1,s1
2019-10-01 00:00:09 UTC,purchase,12,8,,,0.02,u1,s1
2019-10-01 00:00:01 UTC,remove_from_cart,13,8,,,33.20,u2,s2
"""


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_rees46(imported):
    result = imported("rees46", {"2019-Oct.csv": REES46}, merchant="multi")
    assert result.column("client_id", "event_name", "ms", "product_id", "category", "price_minor", "quantity") == [
        ("u2", "product_removed_from_cart", ms("2019-10-01 00:00:01"), "13", "8", 3320, 1),
        ("u1", "product_viewed", ms("2019-10-01 00:00:05"), "11", "electronics.smartphone", 108198, None),
        ("u1", "product_added_to_cart", ms("2019-10-01 00:00:05") + 1, "11", "electronics.smartphone", 108198, 1),
        ("u1", "checkout_completed", ms("2019-10-01 00:00:09"), None, None, 108200, 1),
    ]
    assert set(result.column("merchant_id")) == {"multi"}
    assert set(result.column("currency")) == {"USD"}
    assert result.events[0]["properties"] == {"session": "s2"}
    assert result.events[1]["properties"] == {"brand": "apple", "session": "s1"}
    assert result.events[3]["properties"]["products"] == "2"
    assert result.report.collapsed == 1


def test_retailrocket(imported):
    log = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433221332117,257597,addtocart,355908,
1433223236124,599528,transaction,356475,4000
1433223236126,599528,transaction,356476,4000
1433223236126,599528,transaction,9,4001
"""
    result = imported("retailrocket", {"events.csv": log})
    assert result.column("client_id", "event_name", "ms", "product_id", "merchant_id") == [
        ("257597", "product_viewed", 1433221332117, "355908", "retailrocket"),
        ("257597", "product_added_to_cart", 1433221332118, "355908", "retailrocket"),
        ("599528", "checkout_completed", 1433223236124, None, "retailrocket"),
        ("599528", "checkout_completed", 1433223236126, "9", "retailrocket"),
    ]
    assert result.column("price_minor", "currency", "category") == [(None, None, None)] * 4


def test_otto(imported):
    log = (
        '{"session":7,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"},{"aid":2,"ts":1659304900000,"type":"carts"},'
        '{"aid":2,"ts":1659305000000,"type":"orders"},{"aid":3,"ts":1659305000000,"type":"orders"}]}\n'
        '{"session":8,"events":[{"aid":4,"ts":1659304800000,"type":"clicks"}]}\n'
    )
    result = imported("otto", {"train.jsonl": log})
    assert result.column("client_id", "event_name", "ms", "product_id") == [
        ("8", "product_viewed", 1659304800000, "4"),
        ("7", "product_viewed", 1659304800025, "1"),
        ("7", "product_added_to_cart", 1659304900000, "2"),
        ("7", "checkout_completed", 1659305000000, None),
    ]
    assert (result.report.rows, result.report.collapsed) == (5, 1)


def test_otto_lines_that_are_no_visitor_are_counted(imported):
    log = (
        '{"session":7,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"},{"aid":2,"ts":"soon","type":"clicks"},'
        '{"ts":1659304800026,"type":"clicks"}]}\n{"session":8,"events":3}\nnonsense\n{"session":9,"events":[]}\n'
    )
    result = imported("otto", {"train.jsonl": log})
    assert result.report.accepted == 1
    assert result.report.rejected == {
        "malformed_row": 2,
        "bad_time": 1,
        "missing_event_name": 1,
        "missing_product_id": 1,
    }


def test_yoochoose_clicks_and_buys(imported):
    clicks = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
    buys = (
        "1,2014-04-07T10:59:00.000Z,214536502,12462,2\n1,2014-04-07T10:59:00.000Z,214536500,500,1\n"
        "2,2014-04-07T11:00:00.000Z,3,0,0\n"
    )
    result = imported("yoochoose", {"yoochoose-clicks.dat": clicks, "yoochoose-buys.dat": buys})
    assert result.column("client_id", "event_name", "ms", "product_id", "category", "price_minor", "quantity") == [
        ("1", "product_viewed", ms("2014-04-07 10:51:09.277"), "214536502", None, None, None),
        ("1", "product_viewed", ms("2014-04-07 10:54:09.868"), "214536500", "S", None, None),
        ("1", "checkout_completed", ms("2014-04-07 10:59:00"), None, None, 2 * 12462 + 500, 1),
        ("2", "checkout_completed", ms("2014-04-07 11:00:00"), "3", None, None, None),
    ]


def test_diginetica_keeps_a_sessions_files_on_one_clock(imported):
    views = (
        "sessionId;userId;itemId;timeframe;eventdate\n"
        "1;NA;81766;526309;2016-05-09\n1;NA;31331;1031018;2016-05-09\n2;55;32118;243569;2016-05-10\n"
    )
    purchases = (
        "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n"
        "1;NA;1100000;2016-05-09;16421;31331\n1;NA;1100000;2016-05-09;16421;5\n"
    )
    queries = (
        "queryId;sessionId;userId;timeframe;duration;eventdate;searchstring.tokens;categoryId;items;is.test\n"
        "1;1;NA;0;10;2016-05-09;1042,20;0;7,8;FALSE\n2;1;NA;1000;10;2016-05-09;;1063;7,8;FALSE\n"
    )
    result = imported("diginetica", {"views.csv": views, "purchases.csv": purchases, "queries.csv": queries})
    first = result.events[0]["ms"]
    assert result.column("client_id", "event_name", "product_id", "query", "category") == [
        ("session-1", "search_submitted", None, "1042,20", None),
        ("session-1", "collection_viewed", None, None, "1063"),
        ("session-1", "product_viewed", "81766", None, None),
        ("session-1", "product_viewed", "31331", None, None),
        ("session-1", "checkout_completed", None, None, None),
        ("55", "product_viewed", "32118", None, None),
    ]
    assert [t - first for t in result.column("ms")][:5] == [0, 1000, 526309, 1031018, 1100000]
    assert ms("2016-05-09") <= first < ms("2016-05-10") <= result.events[5]["ms"]


def test_taobao_counts_favourites_apart(imported):
    log = (
        "1,2268318,2520377,pv,1511544070\n1,2268318,2520377,cart,1511544070\n"
        "1,2268318,2520377,buy,1511544071\n1,3,9,fav,1511544072\n"
    )
    result = imported("taobao", {"UserBehavior.csv": log})
    assert result.column("event_name", "ms", "product_id", "category") == [
        ("product_viewed", 1511544070000, "2268318", "2520377"),
        ("product_added_to_cart", 1511544070001, "2268318", "2520377"),
        ("checkout_completed", 1511544071000, "2268318", "2520377"),
    ]
    assert result.report.rejected == {"no_canonical_event": 1}


def test_jdata_is_china_time_and_a_click_on_a_page_is_part_of_its_view(imported):
    log = (
        "user_id,sku_id,time,model_id,type,cate,brand\n"
        "266079.0,138778,2016-01-31 23:59:02,,1,8,403\n266079.0,138778,2016-01-31 23:59:02,0,6,8,403\n"
        "266079.0,138778,2016-01-31 23:59:03,,6,8,403\n266079.0,138778,2016-02-01 00:00:03,,2,8,403\n"
        "266079.0,138778,2016-02-01 00:00:04,,3,8,403\n266079,138778,2016-02-01 00:00:05,,4,8,403\n"
        "266079,138778,2016-02-01 00:00:06,,5,8,403\n"
    )
    result = imported("jdata", {"JData_Action_201602.csv": log})
    assert result.column("client_id", "event_name", "ms") == [
        ("266079", "product_viewed", ms("2016-01-31 15:59:02")),
        ("266079", "product_viewed", ms("2016-01-31 15:59:03")),
        ("266079", "product_added_to_cart", ms("2016-01-31 16:00:03")),
        ("266079", "product_removed_from_cart", ms("2016-01-31 16:00:04")),
        ("266079", "checkout_completed", ms("2016-01-31 16:00:05")),
    ]
    assert (result.report.collapsed, result.report.rejected) == (1, {"no_canonical_event": 1})
    assert result.events[0]["properties"] == {"brand": "403"}


ESHOP = """year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;location;\
model photography;price;price 2;page
2008;4;1;1;29;1;1;A13;1;5;1;28;2;1
2008;4;1;2;29;1;4;P60;1;6;1;33;2;1
2008;8;13;1;9;24026;2;B4;10;2;1;52;1;3
"""


def test_eshop2008_clicks_follow_each_other_evenly_within_their_day(imported):
    result = imported("eshop2008", {"e-shop clothing 2008.csv": ESHOP})
    assert result.column("client_id", "event_name", "product_id", "category", "price_minor", "currency") == [
        ("1", "product_viewed", "A13", "trousers", 2800, "USD"),
        ("1", "product_viewed", "P60", "sale", 3300, "USD"),
        ("24026", "product_viewed", "B4", "skirts", 5200, "USD"),
    ]
    first, second, third = result.column("ms")
    assert ms("2008-04-01") <= first == second - 20_000 < ms("2008-04-02")
    assert ms("2008-08-13") <= third < ms("2008-08-14")
    assert result.events[2]["properties"] == {"country": "9", "page": "3"}


GA360 = """fullVisitorId,visitNumber,action_type,productSKU,time,hitNumber
0009,2,2,B,500,1
0009,1,0,A,0,1
0009,1,0,B,0,1
0009,1,1,B,9000,2
0009,1,2,B,9010,3
0009,1,2,B,60000,4
0009,1,3,B,61000,5
0009,1,4,B,62000,6
0009,1,5,A,63000,7
0009,1,5,B,63000,7
0009,1,6,A,90000,8
0009,1,6,B,90001,9
"""


def test_ga360_visits_follow_each_other_and_a_moments_hits_are_one_event(imported):
    result = imported("ga360", {"ga_sessions_20170801.csv": GA360})
    start = result.events[0]["ms"]
    assert ms("2017-08-01") <= start < ms("2017-08-02")
    assert [(name, t - start, product) for name, t, product in result.column("event_name", "ms", "product_id")] == [
        ("collection_viewed", 0, None),
        ("product_viewed", 9_000, "B"),
        ("product_viewed", 60_000, "B"),
        ("product_added_to_cart", 61_000, "B"),
        ("product_removed_from_cart", 62_000, "B"),
        ("checkout_started", 63_000, None),
        ("checkout_completed", 90_000, None),
        ("product_viewed", 90_001 + 7_200_000 + 500, "B"),
    ]
    assert set(result.column("client_id")) == {"0009"}


def test_ga360_impressions_are_kept_apart_with_their_event(imported):
    result = imported("ga360", {"ga.csv": GA360}, day=date(2017, 8, 1))
    shown = pq.read_table(result.target.impressions).to_pylist()
    assert [(row["product_id"], row["position"]) for row in shown] == [("A", 1), ("B", 2)]
    assert {row["event_id"] for row in shown} == {result.events[0]["event_id"]}
    assert {row["occurred_at"] for row in shown} == {result.events[0]["occurred_at"]}
    assert result.report.impressions == 2


def test_ga360_needs_a_day(imported):
    with pytest.raises(RawLogError, match=r"names no day; give --day"):
        imported("ga360", {"ga.csv": GA360})
    with pytest.raises(RawLogError, match="no valid day"):
        imported("ga360", {"ga_20171331.csv": GA360})


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_canonical_events_only(name: str) -> None:
    adapter = adapter_of(name)
    assert adapter.name == name
    assert set(adapter.events.values()) - {""} <= set(EVENT_CODES)


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RawLogError, match=r"Format 'amazon' is not known; choose one of rees46, retailrocket, ga360"):
        adapter_of("amazon")
