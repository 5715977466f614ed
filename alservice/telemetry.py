"""Logs of this process: one format, on standard error, so that standard output stays for results."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, cast

from alservice.constants import VERSION
from alservice.errors import AlserviceError
from alservice.texts import visible

_ROOT = Path(__file__).resolve().parents[1]

_REVISION = Path(__file__).with_name("REVISION")
"""What a wheel and an image carry in the place of a checkout: the commit that they were made from."""

_log = logging.getLogger(__name__)

_GIT_S = 60.0
"""Seconds for git to say where it stands; one that hangs, as on a dead network disk, is one that does not know."""


@cache
def code_revision() -> str:
    """Return ``version+commit``, ``.dirty`` at its end where the checkout has changes, or the version alone."""
    if _REVISION.exists():
        return f"{VERSION}+{_REVISION.read_text(encoding='utf-8').strip()}"
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        return VERSION
    try:
        described = subprocess.run(
            [git, "-C", str(_ROOT), "describe", "--always", "--abbrev=12", "--dirty=.dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_S,
        )
    except subprocess.TimeoutExpired:
        _log.warning("git did not say within %g s which commit this is: models name the version alone", _GIT_S)
        return VERSION
    commit = described.stdout.strip()
    return f"{VERSION}+{commit}" if commit else VERSION


REPEATS_SHOWN: Final = 20
"""Warnings of one kind that are written in each interval; the others are counted."""

REPEATS_INTERVAL_S: Final = 60.0


def configure_logging(
    level: int = logging.INFO, *, form: Literal["text", "json"] = "text", count_repeats: bool = False
) -> None:
    """Send our records from `level`, and others' warnings, to standard error.

    Called by programs before heavy imports: panoptes_client configures the root logger when it is imported, unless
    somebody has.

    Parameters
    ----------
    count_repeats
        For a process whose clients decide how often it warns: what repeats is counted, so that nobody fills the log.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    text = LineFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    if count_repeats:
        handler = CountedRepeats(handler)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("alservice").setLevel(level)


@dataclass(slots=True)
class _Kind:
    """Warnings of one kind since an interval began."""

    since_s: float
    seen: int = 0
    last: logging.LogRecord | None = None


class CountedRepeats(logging.Handler):
    """Writes the first warnings of a kind in each interval, and how many more there were at its end.

    A kind is logger, level and the first line of the message before its arguments. Records below a warning pass.

    Parameters
    ----------
    target
        Handler that writes.
    shown, interval_s
        Records of a kind that are written in each interval, and its length.
    monotonic
        Seconds, for tests.
    """

    def __init__(
        self,
        target: logging.Handler,
        *,
        shown: int = REPEATS_SHOWN,
        interval_s: float = REPEATS_INTERVAL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._target = target
        self._shown = shown
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write or count one record; the handler's lock is held."""
        self._tell(over_s=self._interval_s)
        if record.levelno < logging.WARNING:
            self._target.handle(record)
            return
        key = (record.name, record.levelno, str(record.msg).partition("\n")[0])
        kind = self._kinds.setdefault(key, _Kind(self._monotonic()))
        kind.seen += 1
        if kind.seen <= self._shown:
            self._target.handle(record)
            return
        kind.last = record
        if self._timer is None:  # what was counted is told even if nothing is logged any more
            self._timer = threading.Timer(self._interval_s, self._tell_in_time)
            self._timer.daemon = True
            self._timer.start()

    def flush(self) -> None:
        """Tell all that was counted."""
        with self._guard():
            self._tell(over_s=0)
        self._target.flush()

    def close(self) -> None:
        """Tell all that was counted, and stop."""
        self.flush()
        with self._guard():
            if self._timer is not None:
                self._timer.cancel()
        self._target.close()
        super().close()

    def _guard(self) -> threading.RLock:
        if self.lock is None:
            self.createLock()
        return cast("threading.RLock", self.lock)

    def _tell_in_time(self) -> None:
        with self._guard():
            self._timer = None
            self._tell(over_s=0)

    def _tell(self, *, over_s: float) -> None:
        """Write the counts of intervals that are so old, and forget them."""
        now = self._monotonic()
        for key in [key for key, kind in self._kinds.items() if now - kind.since_s >= over_s]:
            kind = self._kinds.pop(key)
            if kind.last is not None:
                self._target.handle(_count(kind.last, kind.seen - self._shown, now - kind.since_s))


def _count(last: logging.LogRecord, more: int, seconds: float) -> logging.LogRecord:
    text = f"{more} more like this in {seconds:.0f} s, the last: {last.getMessage().partition(chr(10))[0]}"
    return logging.LogRecord(last.name, last.levelno, last.pathname, last.lineno, text, None, None)


class LineFormatter(logging.Formatter):
    """One line per record, whatever the message holds: text from outside begins no line and moves no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and those of a traceback after it."""
        message = visible(record.getMessage(), one_line=True)
        return visible(super().format(logging.makeLogRecord({**vars(record), "msg": message, "args": None})))


class JsonFormatter(logging.Formatter):
    """One JSON document per record, for a log store: time (UTC), level, logger, message, and an error's code."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        document: dict[str, Any] = {
            "at": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            document["error"] = type(error).__name__
            if isinstance(error, AlserviceError):
                document["code"] = error.code
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document)  # in ASCII, so that the line itself holds nothing that a terminal obeys
