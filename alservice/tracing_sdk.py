"""Parts of OpenTelemetry's SDK that traces of cycles are made with: the extra `tracing`."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context

EXPORT_S: Final = 5.0
"""Seconds for the collector to take a batch: traces are no part of the work, and one that is away delays an end by
as much."""


def exporting(url: str) -> SpanProcessor:
    """Return what sends spans to an OTLP/HTTP address, many at a time, from a thread of its own."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=EXPORT_S))


class GivenIds(IdGenerator):
    """Random ids, but for a span whose ids are given."""

    def __init__(self, given: ContextVar[tuple[int, int] | None]) -> None:
        self._given = given
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        given = self._given.get()
        return self._random.generate_trace_id() if given is None else given[0]

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        given = self._given.get()
        return self._random.generate_span_id() if given is None else given[1]


class _Roots(Sampler):
    """Keeps spans without a parent that are a request or a whole cycle."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return whether a span begins a trace of ours."""
        is_ours = kind is SpanKind.SERVER or "alservice.cycle" in (attributes or {})
        chosen = ALWAYS_ON if is_ours else ALWAYS_OFF
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return what this is called."""
        return "requests and cycles"


class OursAlone(ParentBased):
    """Keeps what is inside of a kept span, and begins a trace for a request or a cycle alone."""

    def __init__(self) -> None:
        super().__init__(root=_Roots())
