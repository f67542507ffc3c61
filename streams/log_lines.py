"""Log lines of long-running commands on standard error: text for people, or JSON for those who collect them.

A JSON line is one object: ``time`` (ISO 8601, UTC, milliseconds), ``level``, ``logger``, ``message``, the fields given
as ``extra``, and ``exception`` with the traceback where there is one.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, NoReturn

#: Name under which commands say what everybody should know, also where only warnings are logged.
_ANNOUNCEMENTS = "simpersona"
#: Exit code of a program ended by Ctrl-C.
INTERRUPTED = 130
_TEXT = "%(asctime)s %(name)s: %(message)s"
#: Loggers of the clients, which say the same many times a second while a broker is away, and how often they may.
_CLIENTS = frozenset({"aiokafka", "kafka", "faust", "mode"})
_SELDOM_S = 10.0
#: What every record has; anything else on it was given as ``extra``.
_ALWAYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object on one line; what JSON does not know is shown as text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _ALWAYS and name not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Seldom(logging.Filter):
    """Lets the clients say the same only every ten seconds; the next time they say how often they would have."""

    def __init__(self) -> None:
        super().__init__()
        #: When each place in their code last said something, and how often it was not let since.
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be shown, with the number of those left out added to its message."""
        if record.name.partition(".")[0] not in _CLIENTS:
            return True
        place = (record.pathname, record.lineno)
        said_s, left_out = self._said.get(place, (-_SELDOM_S, 0))
        if record.created - said_s < _SELDOM_S:
            self._said[place] = (said_s, left_out + 1)
            return False
        self._said[place] = (record.created, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out:,} more like this before)", None
        return True


def configure_logging(log_format: Literal["text", "json"], verbose: bool = False) -> None:
    """Send all log records of this process to standard error; call it once, before anything long begins.

    ``verbose`` shows what happens and not only what goes wrong, and that as often as it happens. With "json", Python's
    warnings and the traceback of an exception that ends the process are lines as well, so that nothing else is on
    standard error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else logging.Formatter(_TEXT))
    if not verbose:
        handler.addFilter(Seldom())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(_ANNOUNCEMENTS).setLevel(logging.INFO)
    if log_format == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught


def hush_store() -> None:
    """Leave each failed request to the store out of the log: it is tried again, and an exception says what matters."""
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def hushed(client: str) -> Iterator[None]:
    """Keep a client's logger quiet while its server is first tried: the exception says it all, in one sentence."""
    logger = logging.getLogger(client)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def announce(message: str, **fields: object) -> None:
    """Log what everybody should know, with fields of their own in JSON lines."""
    logging.getLogger(_ANNOUNCEMENTS).info(message, extra=fields)


def end_interrupted() -> NoReturn:
    """End the program after a Ctrl-C that was handled, with exit code INTERRUPTED.

    Python notes an interrupt as one that nobody handled if it came while a string was executed, as the making of a
    dataclass does at every import, and would end the program by the signal after all; executing another string takes
    the note back.
    """
    exec("")
    sys.exit(INTERRUPTED)


def complain(sentence: str, exit_code: int) -> None:
    """Say on standard error why a command ends: after "error: ", or as a line where lines are JSON."""
    if any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers):
        logging.getLogger(_ANNOUNCEMENTS).error(sentence, extra={"exit_code": exit_code})
    else:
        print(f"error: {sentence}", file=sys.stderr)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(_ANNOUNCEMENTS).critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
