"""``simpersona replay``: event logs into Kafka in event-time order, or rejected events back to where they came from."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.given import take_only
from infra.cli.limits import named

if TYPE_CHECKING:
    from streams.event_logs.recovery import Recovered, Recovery
    from streams.event_logs.replay import Replay

#: How long the store may be away before a replay gives up.
STORE_PATIENCE_S = 30.0

#: Parameters that go with --rejected; the others are about event logs.
_HEEDED_BY_REJECTED = {"rejected", "reason", "since", "until", "merchant", "again", "dry_run", "as_json"}

app = typer.Typer()


class Order(StrEnum):
    """By which of an event's times a replay is ordered."""

    OCCURRED = "occurred"
    RECEIVED = "received"


@app.command()
def replay(
    context: typer.Context,
    events: Annotated[list[Path] | None, typer.Option(help="Event log (Parquet); may be given several times.")] = None,
    speed: Annotated[str, typer.Option(help="Event time per wall time: a number such as 1 or 60, or max.")] = "max",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all times so that the last event happens when it is sent.")
    ] = False,
    order: Annotated[
        Order, typer.Option(help="Order of sending; received is how live traffic arrives.")
    ] = Order.OCCURRED,
    topic: Annotated[str, typer.Option(help="Click topic to produce to.")] = "clicks.raw",
    close: Annotated[
        bool | None,
        typer.Option(
            "--close/--no-close",
            help="Close all sessions at the end with a watermark. Default: with --speed max, unless times are shifted.",
            show_default=False,
        ),
    ] = None,
    rejected: Annotated[
        bool,
        typer.Option("--rejected", help="Send rejected events back to their topic, those that are usable by now."),
    ] = False,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help="Rejected for this reason; may be given several times. Default: all but late, behind_watermark."
        ),
    ] = None,
    since: Annotated[str, typer.Option(help="Rejected at this time (ISO 8601, UTC) or later.")] = "",
    until: Annotated[str, typer.Option(help="Rejected before this time.")] = "",
    merchant: Annotated[str | None, typer.Option(callback=named, help="Rejected events of this merchant.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Rejected events that were sent back before, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what --rejected would send; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Produce event logs to Kafka in event-time order, with the malformed payloads that lie beside them.

    With --rejected: send back what workers rejected and would take by now, for instance because its schema has been
    registered since. Each event goes back once and to its client's partition; what would be rejected again stays. An
    event whose session is over by the partition's event time is rejected once more, as behind_watermark.

    Example: simpersona replay --events events.parquet --speed 60 --shift-to-now

    Example: simpersona replay --rejected --reason unknown_schema --dry-run
    """
    import logging

    from streams.event_logs.recovery import Recovery
    from streams.event_logs.replay import Replay, ReplayError

    # aiokafka logs each failed try; what matters arrives as an exception and is printed once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if rejected == bool(events):
        raise ReplayError("Name either event logs with --events, or --rejected.")
    if rejected:
        take_only(context, "--rejected", _HEEDED_BY_REJECTED)
        _send_rejected(Recovery(merchant, again), reason or [], _time_ms(since), _time_ms(until), dry_run, as_json)
        return
    if reason or since or until or merchant or again or dry_run:
        raise ReplayError("--reason, --since, --until, --merchant, --again and --dry-run belong to --rejected.")
    factor = _speed(speed)
    closing = factor is None and not shift_to_now if close is None else close
    _send_logs(Replay(events or [], topic, factor, order.value, shift_to_now), closing, as_json)


def _send_logs(plan: "Replay", closing: bool, as_json: bool) -> None:
    import asyncio
    from dataclasses import asdict, replace

    from rich.console import Console

    from schemas.settings import settings
    from schemas.topics import SOURCE_OF_TOPIC
    from streams.broker.topology import ensure_topics
    from streams.event_logs.replay import Replayed, ReplayError
    from streams.event_logs.replay import replay as produce
    from streams.sessions.settings import session_rules

    if plan.topic not in SOURCE_OF_TOPIC:
        raise ReplayError(f"--topic {plan.topic!r} is no click topic; choose one of {', '.join(SOURCE_OF_TOPIC)}.")
    rules = settings()
    if closing:
        plan = replace(plan, close_ms=session_rules(rules).closed_after_ms)
    with _progress() as show:

        async def run() -> Replayed:
            topics = await ensure_topics(rules.kafka, rules.partitions, rules.replication)
            return await produce(plan, rules.kafka, topics[plan.topic], time.time_ns() // 1_000_000, show)

        done = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(asdict(done) | {"events_per_s": round(done.events / max(done.seconds, 1e-9))}))
        return
    rate = done.events / max(done.seconds, 1e-9)
    Console().print(
        f"{done.events:,} events and {done.malformed:,} malformed payloads sent to {plan.topic} "
        f"in {done.seconds:,.1f} s ({rate:,.0f}/s)" + (", sessions closed." if done.watermarks else "."),
        highlight=False,
    )


def _send_rejected(
    plan: "Recovery", reasons: list[str], since_ms: int | None, until_ms: int | None, dry_run: bool, as_json: bool
) -> None:
    import asyncio
    from contextlib import ExitStack

    from schemas.rejections import CODE_OF_REASON
    from schemas.settings import settings
    from schemas.validation import TIME_MAX_MS
    from streams.broker.click_reader import ClickReader
    from streams.broker.emit import Emitter
    from streams.broker.registry import SchemaRegistry
    from streams.broker.topology import ensure_topics
    from streams.event_logs.recovery import Recovered, recover, rehearse
    from streams.event_logs.replay import ReplayError
    from streams.store.connection import Store
    from streams.store.rejected_events import MENDABLE, RejectedEvents, Selection
    from streams.store.sink import Sink

    for name in reasons:
        if name not in CODE_OF_REASON:
            raise ReplayError(f"--reason {name!r} is none; choose from {', '.join(CODE_OF_REASON)}.")
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise ReplayError("--since is not before --until; nothing lies between them.")
    chosen = settings()
    selection = Selection(reasons or MENDABLE, since_ms or 0, TIME_MAX_MS + 1 if until_ms is None else until_ms)
    with ExitStack() as resources:
        store = Store(chosen.clickhouse, STORE_PATIENCE_S)
        resources.callback(store.close)
        rejections = RejectedEvents(store, selection)
        find_schema = None
        if chosen.schema_registry:
            registry = SchemaRegistry(chosen.schema_registry)
            resources.callback(registry.close)
            find_schema = registry.schema
        reader = ClickReader(find_schema)
        show = resources.enter_context(_progress())

        async def run() -> Recovered:
            partitions = await ensure_topics(chosen.kafka, chosen.partitions, chosen.replication)
            emitter = Emitter(chosen.kafka)
            await emitter.start()
            try:
                return await recover(plan, rejections, reader, Sink(store), emitter, partitions, show)
            finally:
                await emitter.stop()

        done = rehearse(plan, rejections, reader, show) if dry_run else asyncio.run(run())
    _tell(done, dry_run, as_json)


def _tell(done: "Recovered", dry_run: bool, as_json: bool) -> None:
    """Print counts by reason, and what keeps the rest from being sent."""
    from rich.console import Console
    from rich.table import Table

    unusable: dict[str, dict[str, int]] = {}
    for (was, now), count in done.unusable.items():
        unusable.setdefault(was, {})[now] = count
    reasons = sorted({*done.sent, *unusable, *done.foreign, *done.before})
    if as_json:
        by_reason = {
            name: {
                "sent": done.sent[name],
                "unusable": unusable.get(name, {}),
                "of_other_merchants": done.foreign[name],
                "sent_before": done.before[name],
            }
            for name in reasons
        }
        typer.echo(json.dumps({"dry_run": dry_run, "sent": done.sent.total(), "reasons": by_reason}))
        return
    console = Console()
    if not reasons:
        console.print("No such event was rejected.")
        return
    table = Table(
        "rejected as", "would be sent" if dry_run else "sent", "sent before", "of others", "unusable still, as"
    )
    for name in reasons:
        still = ", ".join(f"{now} {count:,}" for now, count in sorted(unusable.get(name, {}).items()))
        table.add_row(name, f"{done.sent[name]:,}", f"{done.before[name]:,}", f"{done.foreign[name]:,}", still)
    console.print(table)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; yields what is to be told (events done, events in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"))
    screen = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task("events", total=None, rate="0")
        begun_s = time.monotonic()

        def show(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - begun_s, 1e-9)
            progress.update(task, completed=done, total=total, rate=f"{rate:,.0f}")

        yield show


def _time_ms(text: str) -> int | None:
    """Return an ISO 8601 time in milliseconds, UTC unless it says otherwise; None for no text. Raises ReplayError."""
    from streams.event_logs.replay import ReplayError

    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ReplayError(f"{text!r} is no time; write it like 2026-11-24T09:30 (UTC).") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _speed(text: str) -> float | None:
    """Return the factor, None for "max". Raises ReplayError on anything else."""
    from streams.event_logs.replay import ReplayError

    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < float("inf"):
        raise ReplayError(f"--speed {text!r} is neither a positive number nor max.")
    return factor
