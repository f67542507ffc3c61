"""Log lines: one JSON object per line, whatever is logged, and nothing else on standard error."""

import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from streams.log_lines import INTERRUPTED, Seldom

pytestmark = pytest.mark.fast

_BEGIN = """
import logging, warnings
from streams.log_lines import announce, complain, configure_logging
configure_logging("{format}", verbose={verbose})
logger = logging.getLogger("part")
"""


def run(program: str, log_format: str = "json", verbose: bool = False) -> list[str]:
    """The lines on standard error of a process that logs in this format."""
    code = _BEGIN.format(format=log_format, verbose=verbose) + program
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""
    return done.stderr.splitlines()


def objects(program: str, verbose: bool = False) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(program, verbose=verbose)]


def test_a_line_has_time_level_logger_message_and_fields() -> None:
    [line] = objects('logger.warning("slow: %.1f s", 2.5, extra={"merchant": "Käse & Co", "seconds": 2.5})')
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {
        "level": "warning", "logger": "part", "message": "slow: 2.5 s", "merchant": "Käse & Co", "seconds": 2.5
    }  # fmt: skip


def test_a_message_of_several_lines_is_one_line() -> None:
    [line] = objects(r'logger.error("first\nsecond", extra={"object": object})')
    assert line["message"] == "first\nsecond"
    assert line["object"] == "<class 'object'>"


def test_fields_cannot_pass_for_the_time_or_the_message() -> None:
    [line] = objects('logger.error("true", extra={"time": 0, "level": "none", "logger": "other"})')
    assert (line["message"], line["level"], line["logger"]) == ("true", "error", "part")
    assert line["time"].startswith("20")


def test_a_logged_exception_brings_its_traceback() -> None:
    [line] = objects('try:\n    1 / 0\nexcept ZeroDivisionError:\n    logger.exception("failed")')
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_an_exception_that_ends_the_process_and_a_warning_are_lines_too() -> None:
    warned, ended = objects('warnings.warn("old")\n1 / 0')
    assert (warned["logger"], "old" in warned["message"]) == ("py.warnings", True)
    assert (ended["level"], ended["message"]) == ("critical", "ZeroDivisionError: division by zero")
    assert "Traceback" in ended["exception"]


def test_what_happens_is_shown_when_asked_for_and_what_everybody_should_know_always() -> None:
    program = 'logger.info("detail")\nannounce("ready", port=8091)'
    assert [line["message"] for line in objects(program)] == ["ready"]
    assert [line["message"] for line in objects(program, verbose=True)] == ["detail", "ready"]
    assert objects(program)[0] | {"time": ""} == {
        "time": "", "level": "info", "logger": "simpersona", "message": "ready", "port": 8091
    }  # fmt: skip


def test_a_last_sentence_is_a_line_as_well() -> None:
    [line] = objects('complain("No broker answers.", 2)')
    assert (line["level"], line["message"], line["exit_code"]) == ("error", "No broker answers.", 2)
    assert run('complain("No broker answers.", 2)', "text") == ["error: No broker answers."]


def test_text_lines_begin_with_the_time() -> None:
    [line] = run('logger.warning("slow")', "text")
    assert line.endswith(" part: slow")
    assert line.startswith("20")


def test_an_interrupt_while_a_class_is_made_ends_with_the_code_of_a_handled_one(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "from streams.log_lines import end_interrupted\n"
        "try:\n    exec('raise KeyboardInterrupt')\nexcept KeyboardInterrupt:\n    end_interrupted()\n"
    )
    # As a module, for only then does Python look at its note of the interrupt.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-m", "interrupted"], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (INTERRUPTED, b"")


def told(name: str, at_s: float, lineno: int = 1) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.WARNING, "client.py", lineno, "node %s is away", ("one",), None)
    record.created = at_s
    return record


def test_what_a_client_says_all_the_time_is_said_every_ten_seconds_with_its_number() -> None:
    seldom = Seldom()
    said = [record for at in range(25) if seldom.filter(record := told("aiokafka.conn", 1_000.0 + at))]
    assert [record.created - 1_000.0 for record in said] == [0.0, 10.0, 20.0]
    assert [record.getMessage() for record in said] == [
        "node one is away", "node one is away (9 more like this before)", "node one is away (9 more like this before)"
    ]  # fmt: skip


def test_every_place_in_a_client_is_heard_and_what_we_say_ourselves_always_is() -> None:
    seldom = Seldom()
    assert [seldom.filter(told("aiokafka.conn", 1.0, line)) for line in (1, 2, 1)] == [True, True, False]
    assert all(seldom.filter(told("streams.worker", 1.0)) for _ in range(3))
