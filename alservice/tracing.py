"""Traces of cycles by OpenTelemetry: every process that works on a cycle adds its spans to the cycle's one trace.

The trace's id follows from the cycle's key, so that flows, their retries, workers in other pools and the web service
join it without passing anything. Nothing is imported, and a span costs one comparison, until `start_tracing` is called.
"""

from __future__ import annotations

import atexit
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from alservice.constants import APP_NAME, VERSION
from alservice.errors import BadConfig

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

CYCLE: Final = "alservice.cycle"
"""Attribute that every span of a cycle has: its key."""


@dataclass(slots=True)
class _Process:
    """What this process traces with; None until it traces."""

    tracer: Tracer | None = None
    provider: TracerProvider | None = None


_PROCESS: Final = _Process()
_GIVEN_IDS: ContextVar[tuple[int, int] | None] = ContextVar("given_ids", default=None)


def start_tracing(url: str | None, *, processor: SpanProcessor | None = None) -> None:
    """Send spans of this process to an OTLP/HTTP address from now on; without one, or when it does already, nothing.

    Parameters
    ----------
    url
        Such as ``http://collector:4318/v1/traces``.
    processor
        What takes the spans in place of an exporter to the address; for tests.

    Raises
    ------
    BadConfig
        The extra `tracing` is not installed.
    """
    if (url is None and processor is None) or _PROCESS.tracer is not None:
        return
    try:
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        raise BadConfig("traces need the extra `tracing`: pip install 'alservice[tracing]'") from None
    from alservice.tracing_sdk import GivenIds, OursAlone, exporting

    resource = Resource.create({SERVICE_NAME: APP_NAME, SERVICE_VERSION: VERSION})
    # A provider of our own, not the process's: what other libraries trace is theirs.
    provider = TracerProvider(
        sampler=OursAlone(), id_generator=GivenIds(_GIVEN_IDS), resource=resource, shutdown_on_exit=False
    )
    provider.add_span_processor(processor or exporting(url or ""))
    _PROCESS.provider, _PROCESS.tracer = provider, provider.get_tracer(APP_NAME, VERSION)
    atexit.register(stop_tracing)


def stop_tracing() -> None:
    """Send what is left, and trace no more."""
    if _PROCESS.provider is not None:
        _PROCESS.provider.shutdown()
    _PROCESS.provider = _PROCESS.tracer = None


def is_tracing() -> bool:
    """Return whether this process traces."""
    return _PROCESS.tracer is not None


def ids_of(key: str) -> tuple[int, int]:
    """Return the ids of a cycle's trace and of its first span, from the cycle's key."""
    digest = hashlib.sha256(f"alservice cycle {key}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


@contextmanager
def span(name: str, /, **attributes: str | float) -> Iterator[None]:
    """Trace a block as part of what is traced around it; outside of a trace nothing is."""
    if _PROCESS.tracer is None:
        yield
        return
    if not _is_inside():
        yield
        return
    with _PROCESS.tracer.start_as_current_span(name, attributes=attributes):
        yield


@contextmanager
def cycle_span(key: str, name: str, /, **attributes: str | float) -> Iterator[None]:
    """Trace a block in the trace of a cycle: below what is traced of it in this process, or below its first span."""
    if _PROCESS.tracer is None:
        yield
        return
    from opentelemetry import trace

    trace_id, span_id = ids_of(key)
    inside = trace.get_current_span().get_span_context().trace_id == trace_id
    first = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(1))
    above = None if inside else trace.set_span_in_context(trace.NonRecordingSpan(first))
    with _PROCESS.tracer.start_as_current_span(name, above, attributes={CYCLE: key, **attributes}):
        yield


def trace_ended_cycle(key: str, name: str, /, *, began: datetime, ended: datetime, **attributes: str | int) -> None:
    """Trace a whole cycle, once it has ended: the first span, below which all others are."""
    if _PROCESS.tracer is None:
        return
    from opentelemetry.context import Context

    token = _GIVEN_IDS.set(ids_of(key))
    try:
        whole = _PROCESS.tracer.start_span(
            name, Context(), attributes={CYCLE: key, **attributes}, start_time=_nanoseconds(began)
        )
    finally:
        _GIVEN_IDS.reset(token)
    whole.end(_nanoseconds(ended))


@contextmanager
def request_span(name: str, /, **attributes: str) -> Iterator[Span | None]:
    """Trace a request to the web service as a trace of its own; yield its span, None where nothing is traced."""
    if _PROCESS.tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind

    with _PROCESS.tracer.start_as_current_span(name, kind=SpanKind.SERVER, attributes=attributes) as opened:
        yield opened


def begin(name: str, /, **attributes: str) -> Span | None:
    """Begin a span that its caller ends, as where a library calls before and after; None outside of a trace."""
    if _PROCESS.tracer is None or not _is_inside():
        return None
    from opentelemetry.trace import SpanKind

    return _PROCESS.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def end(begun: Span | None, error: BaseException | None = None) -> None:
    """End a span that was begun."""
    if begun is None:
        return
    if error is not None:
        from opentelemetry.trace import Status, StatusCode

        begun.set_status(Status(StatusCode.ERROR, type(error).__name__))
    begun.end()


def _is_inside() -> bool:
    from opentelemetry import trace

    return trace.get_current_span().is_recording()


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1_000
