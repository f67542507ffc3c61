"""An import is whole or not at all, accounts for every row, and is the same every time."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoders.adapters.formats import adapter_of
from encoders.adapters.importing import ImportTarget, import_log
from encoders.errors import EmptyLogError, EventLogError, RawLogError

HEADER = "timestamp,visitorid,event,itemid,transactionid\n"


def row(
    t: object = 1433221332117, visitor: object = 7, event: object = "view", item: object = 1, order: object = ""
) -> str:
    return f"{t},{visitor},{event},{item},{order}\n"


def test_every_kind_of_bad_row_is_counted_and_saved(imported):
    bad = {
        "malformed_row": "1,2,view\n",
        "missing_client_id": row(visitor=""),
        "missing_event_name": row(event=""),
        "unknown_event": row(event="dance"),
        "missing_occurred_at": row(t=""),
        "bad_time": row(t="soon"),
        "missing_product_id": row(item=""),
    }
    result = imported("retailrocket", {"events.csv": HEADER + "".join(bad.values()) + row()}, rejects=True)
    assert result.report.rejected == dict.fromkeys(bad, 1)
    assert result.report.accepted == 1
    saved = [json.loads(line) for line in result.target.rejects.read_text().splitlines()]
    assert [(one["reason"], one["raw"] + "\n", one["row"]) for one in saved] == [
        (reason, text, place + 1) for place, (reason, text) in enumerate(bad.items())
    ]


def test_a_line_that_is_no_utf8_is_rejected_alone(imported):
    log = HEADER.encode() + row().encode() + b"1433221332118,7,vi\xffew,1,\n" + row(event="addtocart").encode()
    result = imported("retailrocket", {"events.csv": log})
    assert (result.report.accepted, result.report.rejected) == (2, {"bad_encoding": 1})


def test_quotes_blank_lines_a_byte_order_mark_and_windows_line_ends_are_understood(imported):
    log = (
        '"timestamp","visitorid","event","itemid","transactionid"\n'
        + '1433221332117,"7","view","a ""b"", c",\n\n1433221332118,8,view,"open,\n'
    ).replace("\n", "\r\n")
    result = imported("retailrocket", {"events.csv": "\ufeff" + log})
    assert result.column("client_id", "product_id") == [("7", 'a "b", c')]
    assert result.report.rejected == {"malformed_row": 1}


def test_columns_may_come_in_any_order_with_others_between(imported):
    log = "itemid,row,EVENT,visitorid,row,timestamp,transactionid\n5,x,view,7,x,1433221332117,\n"
    assert imported("retailrocket", {"e.csv": log}).column("client_id", "product_id") == [("7", "5")]


def test_a_clients_events_of_one_moment_keep_the_logs_order(imported):
    log = HEADER + "".join(row(item=item) for item in "dbca") + row(t=1433221332118, item="e") + row(visitor=8)
    result = imported("retailrocket", {"events.csv": log})
    events = result.column("client_id", "ms", "product_id")
    assert [(t - 1433221332117, item) for client, t, item in events if client == "7"] == [
        (0, "d"),
        (1, "b"),
        (2, "c"),
        (3, "a"),
        (4, "e"),
    ]


def test_importing_again_gives_the_same_ids_and_so_does_a_longer_log(imported):
    log = HEADER + row() + row() + row(visitor=8)
    first = imported("retailrocket", {"events.csv": log}).column("event_id")
    assert imported("retailrocket", {"again.csv": log}).column("event_id") == first
    assert len(set(first)) == 3
    longer = imported("retailrocket", {"longer.csv": log + row(visitor=9)}).column("event_id")
    assert set(first) < set(longer)


def test_gzipped_and_plain_files_are_read_together_in_time_order(imported):
    late, early = HEADER + row(t=1433221332200), HEADER + row(t=1433221332100)
    result = imported("retailrocket", {"b.csv.gz": gzip.compress(late.encode()), "a [1].csv": early})
    assert result.column("ms") == [1433221332100, 1433221332200]


def test_a_truncated_gzip_says_how_far_it_went_and_leaves_nothing(tmp_path: Path) -> None:
    log = HEADER + "".join(row(t=1433221332117 + i * 977, item=i * i) for i in range(20_000))
    path = tmp_path / "events.csv.gz"
    packed = gzip.compress(log.encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(RawLogError, match=r"truncated or damaged after [\d,]{5,} lines \([\d,]+ bytes unpacked\)"):
        import_log(adapter_of("retailrocket"), [path], ImportTarget(tmp_path / "log.parquet"))
    assert [p.name for p in tmp_path.iterdir()] == ["events.csv.gz"]


@pytest.mark.parametrize(
    ("format_name", "content", "sentence"),
    [
        ("rees46", HEADER + row(), "expected the columns event_time, event_type, .*, found timestamp, visitorid, "),
        ("retailrocket", HEADER.replace("itemid", "thing") + row(), "missing: itemid"),
        ("retailrocket", "a,b\n", "missing: timestamp, visitorid, event, itemid, transactionid"),
        ("yoochoose", HEADER + row() + "1,2,3\n", "No row of the log can be used"),
        ("taobao", "1,2,3\n", r"expected 5 \(user, item, category, behaviour, time\) columns .* found 3 \(1, 2, 3\)"),
        ("otto", HEADER, "expected JSON lines with the key session or events, found no such columns"),
        ("jsonl", '{"session": 1}\n', "with the key event_name or event or name or type, found session"),
        ("retailrocket", HEADER.replace("itemid", "event") + row(), "missing: itemid"),
        ("retailrocket", "event," + HEADER + row(), "names the column event twice"),
        ("rees46", b"PK\x03\x04....", "this is a zip archive; unpack it first"),
        ("rees46", b"PAR1....", "this is a Parquet file"),
        ("rees46", b"\x1f\x8b\x08\x00", "damaged in its first line"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence(tmp_path: Path, format_name: str, content: str | bytes, sentence: str) -> None:
    path = tmp_path / "raw.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises((RawLogError, EmptyLogError), match=sentence):
        import_log(adapter_of(format_name), [path], ImportTarget(tmp_path / "log.parquet"))
    assert [p.name for p in tmp_path.iterdir()] == ["raw.csv"]


def test_an_absent_file_a_folder_and_a_file_given_twice_are_one_sentence(tmp_path: Path) -> None:
    adapter, target = adapter_of("retailrocket"), ImportTarget(tmp_path / "log.parquet")
    with pytest.raises(RawLogError, match="No such file"):
        import_log(adapter, [tmp_path / "absent.csv"], target)
    with pytest.raises(RawLogError, match="directory"):
        import_log(adapter, [tmp_path], target)
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row())
    with pytest.raises(RawLogError, match="given twice"):
        import_log(adapter, [path, tmp_path / "." / "events.csv"], target)
    with pytest.raises(RawLogError, match="would replace the raw log"):
        import_log(adapter, [path], ImportTarget(path))
    with pytest.raises(RawLogError, match="the rejected rows cannot be written"):
        import_log(adapter, [path], ImportTarget(tmp_path / "log.parquet", path / "rejects.jsonl"))


@pytest.mark.parametrize("content", ["", "\n\n", HEADER], ids=["no bytes", "blank lines", "a header only"])
def test_an_empty_log_is_said_to_be_empty(tmp_path: Path, content: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(content)
    with pytest.raises(EmptyLogError, match="log is empty"):
        import_log(adapter_of("retailrocket"), [path], ImportTarget(tmp_path / "log.parquet"))


def test_a_log_of_which_no_row_can_be_used_says_why_and_saves_them(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row(event="dance") * 2 + row(t="soon"))
    target = ImportTarget(tmp_path / "log.parquet", tmp_path / "rejects.jsonl")
    with pytest.raises(EmptyLogError, match=r"No row of the log can be used \(unknown_event 2, bad_time 1\)"):
        import_log(adapter_of("retailrocket"), [path], target)
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 3
    assert not target.out.exists()


def test_a_full_disk_is_one_sentence_and_leaves_the_old_log(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row())
    target = ImportTarget(tmp_path / "log.parquet")
    target.out.write_text("the log of yesterday")
    (tmp_path / ".log.parquet.part").symlink_to("/dev/full")
    with pytest.raises(EventLogError, match=r"log\.parquet: the disk is full"):
        import_log(adapter_of("retailrocket"), [path], target)
    assert target.out.read_text() == "the log of yesterday"


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row())
    with pytest.raises(RawLogError, match="cannot be written"):
        import_log(adapter_of("retailrocket"), [path], ImportTarget(path / "log.parquet"))


def test_progress_tells_what_is_being_done(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row())
    told: list[tuple[str, float]] = []
    import_log(
        adapter_of("retailrocket"),
        [path],
        ImportTarget(tmp_path / "log.parquet"),
        progress=lambda what, percent: told.append((what, percent)),
    )
    assert [what for what, percent in told if percent == 100.0] == [
        "reading events.csv",
        "grouping",
        "parting ties",
        "writing log.parquet",
    ]


def test_an_interrupted_import_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEADER + row())

    def interrupt(what: str, percent: float) -> None:
        if what.startswith("writing"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_log(adapter_of("retailrocket"), [path], ImportTarget(tmp_path / "log.parquet"), progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["events.csv"]


ROW = st.builds(
    row,
    t=st.one_of(st.integers(1433221332000, 1433221332009), st.sampled_from(["", "x", -1, 10**25])),
    visitor=st.sampled_from([1, 2, "", "x" * 300]),
    event=st.sampled_from(["view", "addtocart", "transaction", "dance", ""]),
    item=st.sampled_from([1, 2, 3, ""]),
    order=st.sampled_from(["", 1, 2]),
)
NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1, max_size=20).map(
    lambda t: t + "\n"
)


@given(rows=st.lists(ROW | NOISE, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_books_balance_and_a_clients_times_rise(imported, rows):
    good = row(visitor=3)
    result = imported("retailrocket", {"events.csv": HEADER + good + "".join(rows)})
    assert result.report.rows == len(rows) + 1
    times: dict[str, int] = {}
    for client, t in result.column("client_id", "ms"):
        assert t > times.get(client, 0)
        times[client] = t
