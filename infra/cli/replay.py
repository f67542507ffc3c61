"""``simpersona replay``: event logs into Kafka, in event-time order."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


class Order(StrEnum):
    """By which of an event's times a replay is ordered."""

    OCCURRED = "occurred"
    RECEIVED = "received"


@app.command()
def replay(
    events: Annotated[list[Path], typer.Option(help="Event log (Parquet); may be given several times.")],
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Produce event logs to Kafka in event-time order, with the malformed payloads that lie beside them.

    Example: simpersona replay --events events.parquet --speed 60 --shift-to-now
    """
    import asyncio
    import logging
    import time
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.settings import settings
    from schemas.topics import SOURCE_OF_TOPIC
    from streams.replay import Replay, Replayed, ReplayError
    from streams.replay import replay as produce
    from streams.topology import ensure_topics

    # aiokafka logs each failed try; what matters arrives as an exception and is printed once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if topic not in SOURCE_OF_TOPIC:
        raise ReplayError(f"--topic {topic!r} is no click topic; choose one of {', '.join(SOURCE_OF_TOPIC)}.")
    factor = _speed(speed)
    rules = settings()
    closing = factor is None and not shift_to_now if close is None else close
    plan = Replay(
        paths=events,
        topic=topic,
        speed=factor,
        order=order.value,
        shift=shift_to_now,
        # Longer than any session can stay open after its last event.
        close_ms=rules.gap_ms + rules.allowed_lateness_ms + rules.session_max_ms if closing else None,
    )

    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"))
    screen = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        task = progress.add_task("events", total=None, rate="0")
        begun_s = time.monotonic()

        def show(sent: int, total: int) -> None:
            rate = sent / max(time.monotonic() - begun_s, 1e-9)
            progress.update(task, completed=sent, total=total, rate=f"{rate:,.0f}")

        async def run() -> Replayed:
            topics = await ensure_topics(rules.kafka, rules.partitions, rules.replication)
            return await produce(plan, rules.kafka, topics[topic], time.time_ns() // 1_000_000, show)

        done = asyncio.run(run())
    if as_json:
        typer.echo(json.dumps(asdict(done) | {"events_per_s": round(done.events / max(done.seconds, 1e-9))}))
        return
    Console().print(
        f"{done.events:,} events and {done.malformed:,} malformed payloads sent to {topic} in {done.seconds:,.1f} s "
        f"({done.events / max(done.seconds, 1e-9):,.0f}/s)" + (", sessions closed." if done.watermarks else "."),
        highlight=False,
    )


def _speed(text: str) -> float | None:
    """Return the factor, None for "max". Raises ReplayError on anything else."""
    from streams.replay import ReplayError

    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0.0 < factor < float("inf"):
        raise ReplayError(f"--speed {text!r} is neither a positive number nor max.")
    return factor
