"""Sessions that a command learns from: of event logs, or straight from the broker; of either a range of time."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import ArgumentError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from encoders.sessionise import SessionLog

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: A point of time, or how long before the end of the data.
When = datetime | timedelta


@dataclass(frozen=True, slots=True)
class SessionSource:
    """Event logs, or with ``bootstrap`` the topic of clicks at a broker; sessions from ``since`` up to ``until``.

    A span counts back from now at the broker, from the newest session in event logs. At the broker a click belongs to
    the time at which it came in, in event logs to the one at which its session began.
    """

    events: tuple[Path, ...]
    bootstrap: str | None
    since: When | None = None
    until: When | None = None

    def describe(self) -> dict[str, Any]:
        """Return what makes two sources one and the same, as JSON; a log that was written anew is another one."""
        logs = [[str(path.resolve()), *_stamp(path)] for path in self.events]
        ends = {"since": self.since, "until": self.until}
        asked = {name: None if when is None else str(when) for name, when in ends.items()}
        return {"events": logs, "kafka": self.bootstrap, **asked}

    def named(self) -> str:
        """Return the source in words, without folders: it stands in the artefact, which travels."""
        source = ", ".join(path.name for path in self.events) or "clicks.raw"
        ends = [f"{word} {_words(when)}" for word, when in (("from", self.since), ("until", self.until)) if when]
        return " ".join([source, *ends])

    def read(self, console: "Console") -> "SessionLog":
        """Read and cut, with a bar. Raises as ``read_sessions`` and ``recent_sessions`` do."""
        from encoders.event_log import count_rows
        from encoders.sessionise import read_sessions
        from schemas.settings import settings

        dials = settings()
        with progress_bar(console) as bar:
            if self.bootstrap is not None:
                task = bar.add_task("reading clicks", total=None)
                return clicks_between(self.bootstrap, self.since, self.until, lambda n: bar.advance(task, n))
            task = bar.add_task("reading events", total=count_rows(self.events))
            log = read_sessions(
                self.events, dials.gap_ms, dials.session_max_events, lambda rows: bar.advance(task, rows)
            )
        return self._within(log)

    def _within(self, log: "SessionLog") -> "SessionLog":
        from encoders.errors import TrainingDataError

        if self.since is None and self.until is None:
            return log
        began = log.events["t"][log.starts]
        newest_ms = int(began.max())
        from_ms, to_ms = _milliseconds(self.since, newest_ms, 0), _milliseconds(self.until, newest_ms, newest_ms + 1)
        chosen = log.select((began >= from_ms) & (began < to_ms))
        if not len(chosen):
            first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (int(began.min()), newest_ms))
            raise TrainingDataError(
                f"{', '.join(map(str, self.events))}: no session began in the range of --since and --until; they began "
                f"from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} (UTC)."
            )
        return chosen


def _words(when: When) -> str:
    if isinstance(when, datetime):
        return f"{when:%Y-%m-%d %H:%M}"
    return f"{when.total_seconds() / 3600:g} hours before the end"


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of a file, zeros when it is absent (which reading it will say)."""
    if not path.exists():
        return 0, 0
    return path.stat().st_size, path.stat().st_mtime_ns


def clicks_between(
    bootstrap: str, since: When | None, until: When | None, progress: Callable[[int], None]
) -> "SessionLog":
    """Return the sessions of the clicks that came to the broker in that time; see ``recent_sessions``."""
    import asyncio
    import time
    from contextlib import closing, nullcontext

    from schemas.settings import settings
    from streams.broker.registry import SchemaRegistry
    from streams.event_logs.recent_clicks import recent_sessions

    dials, now_ms = settings(), time.time_ns() // 1_000_000
    since_ms = _milliseconds(since, now_ms, 0)
    until_ms = None if until is None else _milliseconds(until, now_ms, now_ms)
    registry = SchemaRegistry(dials.schema_registry) if dials.schema_registry else None
    with nullcontext() if registry is None else closing(registry):
        find = None if registry is None else registry.schema
        return asyncio.run(
            recent_sessions(
                bootstrap, since_ms, dials.gap_ms, dials.session_max_events, find, progress, until_ms=until_ms
            )
        )


def time_range(since: str, until: str) -> tuple[When | None, When | None]:
    """Return what the texts of --since and --until mean, None for no text. Raises ArgumentError on what is no time."""
    begin, end = _when("--since", since), _when("--until", until)
    if begin is not None and type(begin) is type(end):
        empty = begin >= end if isinstance(begin, datetime) else begin <= end  # type: ignore[operator]
        if empty:
            raise ArgumentError(f"--since {since} is not before --until {until}; nothing lies between them.")
    return begin, end


def _when(option: str, text: str) -> When | None:
    if not text:
        return None
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return timedelta(**{_UNITS[span[2]]: float(span[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ArgumentError(
            f"{option} {text}: no time; give a span such as 7d or 36h, or a date such as 2026-11-19 or "
            "2026-11-19T09:30 (UTC)."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _milliseconds(when: When | None, end_ms: int, otherwise_ms: int) -> int:
    if when is None:
        return otherwise_ms
    if isinstance(when, timedelta):
        return end_ms - round(when.total_seconds() * 1000)
    return round(when.timestamp() * 1000)


def progress_bar(console: "Console") -> "Progress":
    """Return a bar with what is done of what, and the time it took."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
