"""Traces of cycles: one per cycle whatever process adds to it, nothing where nobody asked for any."""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import Engine

from alservice import tracing
from alservice.campaigns.cycle import CycleState
from alservice.cycle.service import trace_key
from alservice.errors import BadConfig, IllegalTransition
from alservice.meters import Meter
from alservice.retry import Workers, one_ahead
from alservice.storage.traced import trace_statements
from alservice.tracing import cycle_span, ids_of, request_span, span, start_tracing, stop_tracing
from tests.cycle.test_cycle import Loop
from tests.support.shared import ROOT


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced in this process meanwhile."""
    exporter = InMemorySpanExporter()
    start_tracing(None, processor=SimpleSpanProcessor(exporter))
    yield exporter
    stop_tracing()


def ids(found: ReadableSpan) -> tuple[int, int | None, int]:
    """Return trace, parent and own id of a span."""
    assert found.context is not None
    return found.context.trace_id, None if found.parent is None else found.parent.span_id, found.context.span_id


def test_one_cycle_is_one_trace(spans: InMemorySpanExporter, engine: Engine, tmp_path: Path) -> None:
    """Every step, call and statement of two processes is below the cycle's first span, which spans all of it."""
    loop = Loop(engine, tmp_path)
    trace_statements(engine)
    cycle = loop.start()
    spans.clear()
    with loop.factory.cycle.traced(cycle.id, "flow weekly-cycle", actor="test"):
        cycle = loop.run(cycle, until=CycleState.COLLECTING)
    loop.ask(cycle)
    while cycle.state is not CycleState.DONE:  # as a later process: with nothing around it
        cycle = loop.advance(cycle.id)
    trace_id, first = ids_of(trace_key(cycle))
    found = spans.get_finished_spans()
    kept = {each for each in found if ids(each)[0] == trace_id}
    by_id = {ids(each)[2]: each for each in kept}
    whole = by_id[first]
    assert (whole.name, ids(whole)[1]) == ("cycle 0", None)
    assert whole.start_time == int(cycle.created_at.timestamp() * 1e6) * 1000
    assert all(ids(each)[1] in by_id for each in kept - {whole}), "a span of the trace hangs nowhere"
    assert {each.name for each in kept} >= {
        "flow weekly-cycle",
        *(f"step {state}" for state in ("planned", "acquiring", "publishing", "collecting", "training", "evaluating")),
        *("step gated", "step promoted", "sql transaction", "sql INSERT", "sql SELECT"),
    }
    flow = next(each for each in kept if each.name == "flow weekly-cycle")
    steps = {each.name: each for each in kept if each.name.startswith("step ")}
    assert ids(steps["step publishing"])[1] == ids(flow)[2]
    assert ids(steps["step training"])[1] == first
    assert {ids(each)[0] for each in found} == {trace_id}, "what is not of the cycle is not kept"
    assert not any("secret" in str(dict(each.attributes or {})) for each in kept)


def test_an_error_ends_its_span_and_is_on_it(spans: InMemorySpanExporter) -> None:
    """A step that raised is red."""
    with pytest.raises(IllegalTransition), cycle_span("1/2/x", "step publishing"):
        raise IllegalTransition("not so")
    (found,) = spans.get_finished_spans()
    assert (found.status.is_ok, [event.name for event in found.events]) == (False, ["exception"])


def test_threads_add_to_the_trace_of_who_submitted_them(spans: InMemorySpanExporter) -> None:
    """Kind: a publisher's connections, whose calls would be traces of their own, and so not kept."""
    meter = Meter()

    def call(number: int) -> int:
        with meter.measured("zooniverse", "POST subjects"):
            time.sleep(0)
        return number

    with cycle_span("1/2/x", "step publishing"), Workers(2) as workers:
        assert sorted(workers.each(call, range(5))) == list(range(5))
        assert list(workers.in_order(call, range(5))) == list(range(5))
        assert list(map(partial(int), one_ahead(map(call, range(5))))) == list(range(5))
    found = spans.get_finished_spans()
    assert [each.name for each in found].count("zooniverse POST subjects") == 15
    assert {ids(each)[0] for each in found} == {ids_of("1/2/x")[0]}


def test_what_is_outside_of_a_cycle_or_a_request_is_not_traced(spans: InMemorySpanExporter) -> None:
    """Kind: heartbeats and scrapes, each a trace of one span."""
    with span("sql transaction"):
        assert tracing.begin("sql SELECT") is None
    assert spans.get_finished_spans() == ()
    with request_span("GET") as opened, span("sql transaction"):
        assert opened is not None
    assert [each.name for each in spans.get_finished_spans()] == ["sql transaction", "GET"]


def test_another_cycle_inside_is_another_trace(spans: InMemorySpanExporter) -> None:
    """An act in a request is in the trace of its cycle, not in the request's."""
    with request_span("POST"), cycle_span("1/2/x", "act approve"), cycle_span("1/3/x", "act resume"):
        pass
    assert len({ids(each)[0] for each in spans.get_finished_spans()}) == 3


def test_without_a_setting_nothing_is_traced_or_imported() -> None:
    """Off is one comparison: no package of the extra is loaded by an application that does not trace."""
    program = (
        "import sys; from alservice import tracing; from alservice.app import App; from alservice.retry import Workers\n"
        "from datetime import datetime, UTC\n"
        "now = datetime.now(UTC)\n"
        "with tracing.span('a'), tracing.cycle_span('k', 'b'), tracing.request_span('c') as r: assert r is None\n"
        "tracing.trace_ended_cycle('k', 'n', began=now, ended=now); tracing.end(tracing.begin('x'));\n"
        "assert not tracing.is_tracing()\n"
        "assert not [m for m in sys.modules if m.startswith('opentelemetry')], 'loaded'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_an_address_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is a decision; it is not passed over."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(BadConfig, match="pip install"):
        start_tracing("http://127.0.0.1:9/v1/traces")
