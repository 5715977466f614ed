"""Log lines that a log store can read."""

import json
import logging
import sys

from alservice.adapters.telemetry import JsonFormatter
from alservice.errors import StorageFull


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
