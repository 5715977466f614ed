"""Log lines that a log store can read."""

import io
import json
import logging
import sys
import time

from alservice.errors import StorageFull
from alservice.telemetry import CountedRepeats, JsonFormatter, LineFormatter


def line(error: Exception | None = None) -> dict[str, str]:
    """Return the document of one record."""
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    record = logging.LogRecord("alservice.x", logging.WARNING, "x.py", 1, "%s of\n%d", ("ü", 3), info)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    document: dict[str, str] = json.loads(text)
    return document


def test_a_record_is_one_document_on_one_line() -> None:
    """Time with its zone, level, logger and message, whatever characters it has."""
    document = line()
    assert document.pop("at").endswith("+00:00")
    assert document == {"level": "warning", "logger": "alservice.x", "message": "ü of\n3"}


def test_an_error_brings_its_code() -> None:
    """A log store can group by what the runbook lists."""
    document = line(StorageFull("no room"))
    assert (document["error"], document["code"]) == ("StorageFull", "storage-full")
    assert "no room" in document["traceback"]
    assert "code" not in line(ValueError("broken"))


def record(level: int, text: str, *arguments: object, name: str = "alservice.web") -> logging.LogRecord:
    """Return one record."""
    return logging.LogRecord(name, level, "x.py", 1, text, arguments, None)


def test_warnings_that_repeat_are_counted() -> None:
    """The first of a kind are written, the others told as a number when the interval is over; nothing is lost.

    The kind: whoever may cause a warning decides how long the log is.
    """
    out, now = io.StringIO(), [0.0]
    handler = CountedRepeats(logging.StreamHandler(out), shown=3, interval_s=60, monotonic=lambda: now[0])
    for i in range(1000):
        handler.handle(record(logging.WARNING, "%s refused", i))
        handler.handle(record(logging.ERROR, "out of files\nfuture: 0x%x", i, name="asyncio"))
    handler.handle(record(logging.WARNING, "something else"))
    assert len(out.getvalue().splitlines()) == 3 + 3 * 2 + 1
    now[0] = 61
    handler.handle(record(logging.WARNING, "%s refused", "again"))
    told = [line for line in out.getvalue().splitlines() if "more like this" in line]
    assert told == [
        "997 more like this in 61 s, the last: 999 refused",
        "997 more like this in 61 s, the last: out of files",
    ]
    assert out.getvalue().endswith("again refused\n")
    handler.close()


def test_what_is_no_warning_is_never_counted() -> None:
    """Progress and results pass, however many there are."""
    out = io.StringIO()
    handler = CountedRepeats(logging.StreamHandler(out), shown=1)
    for _ in range(50):
        handler.handle(record(logging.INFO, "done"))
    assert out.getvalue() == "done\n" * 50
    handler.close()


def test_counts_are_told_at_the_end() -> None:
    """A process that stops, or falls silent, tells what it had counted."""
    out = io.StringIO()
    handler = CountedRepeats(logging.StreamHandler(out), shown=1, interval_s=3600)
    for _ in range(5):
        handler.handle(record(logging.WARNING, "odd"))
    handler.flush()
    assert "4 more like this" in out.getvalue()
    handler.close()
    quiet = io.StringIO()
    silent = CountedRepeats(logging.StreamHandler(quiet), shown=1, interval_s=0.05)
    for _ in range(2):
        silent.handle(record(logging.WARNING, "odd"))
    until = time.monotonic() + 30
    while "more like this" not in quiet.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    assert "1 more like this" in quiet.getvalue()
    silent.close()


def test_text_from_outside_stays_in_its_line() -> None:
    """Kind: text that is obeyed. Line ends, escapes of terminals and turned directions are shown, in both forms."""
    hostile = "a\nINFO forged\x1b[2J\x9b1m\u202eb\u2028c"
    error = ValueError(hostile)
    info = (type(error), error, None)
    record = logging.LogRecord("alservice.x", logging.WARNING, "x.py", 1, "%s", (hostile,), info)
    line, *traceback = LineFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert line == "WARNING a\\nINFO forged\\x1b[2J\\x9b1m\\u202eb\\u2028c"
    assert traceback[0].startswith("ValueError: a")
    document = JsonFormatter().format(record)
    for text in (line, *traceback, document):
        assert text.isprintable()
    assert json.loads(document)["message"] == hostile
