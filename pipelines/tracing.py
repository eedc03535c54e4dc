"""Traces: spans of steps and of requests, sent by OTLP over HTTP where RATCHET_TRACES_URL says; without it nothing is recorded.

A step's span is a child of its task's (`TRACEPARENT`), a request's of its caller's, and each request's is linked to the span in
which its release was assembled. Spans name ids, never what people typed.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipelines.errors import InputError, NothingToDo
from pipelines.settings import Settings, install_command, missing_packages

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

NAME = "ratchet"
SEND_S = 5.0
"""Seconds after which a batch of spans is given up on."""
_providers: list["TracerProvider"] = []
"""That of this process, once there is one."""


def configure(settings: Settings, service: str) -> None:
    """Send spans from now on, if the settings say where to. What can't be sent is lost, and the log says so.

    Args:
        settings: with the address.
        service: who sends them, such as `ratchet-serve`.

    Raises:
        InputError: the address is none, or the packages are missing.
    """
    if not settings.traces_url or _providers:
        return
    if urlsplit(settings.traces_url).scheme not in ("http", "https"):
        expected = "an address such as http://127.0.0.1:4318/v1/traces"
        raise InputError(f"RATCHET_TRACES_URL={settings.traces_url}", expected, "correct or unset RATCHET_TRACES_URL")
    if missing := missing_packages("observe"):
        given = f"RATCHET_TRACES_URL without {' and '.join(missing)}"
        raise InputError(given, "the packages of the extra observe", f"run `{install_command('observe')}`")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(settings.traces_url, timeout=SEND_S)))
    _providers.append(provider)


def flush() -> None:
    """Send what waits to be sent, within SEND_S seconds."""
    for provider in _providers:
        provider.force_flush(round(1000 * SEND_S))


@contextmanager
def span(name: str, parent: str, serves: bool = False) -> Iterator["Span | None"]:
    """A span that lasts as long as the block; None where no spans are recorded.

    Args:
        name: what is done.
        parent: a `traceparent` of W3C's Trace Context; empty: a trace begins here.
        serves: whether it answers somebody's request.
    """
    if not _providers:
        yield None
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract({"traceparent": parent})
    kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
    tracer = _providers[0].get_tracer(NAME)
    # An error's own words may quote what people typed: of it the span has the type alone.
    with tracer.start_as_current_span(name, above, kind, record_exception=False, set_status_on_exception=False) as started:
        try:
            yield started
        except Exception as error:
            if not isinstance(error, NothingToDo):
                started.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def current_span() -> "Span | None":
    """The span that this context is in; None where no spans are recorded."""
    if not _providers:
        return None
    from opentelemetry.trace import get_current_span

    return get_current_span()


def traceparent() -> str:
    """The `traceparent` of the span that this context is in; empty where no spans are recorded."""
    if not _providers:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def link(linked: "Span | None", to: str) -> None:
    """Link a span to another, by its `traceparent`; nothing happens where either is missing."""
    if linked is None or not to:
        return
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    linked.add_link(get_current_span(TraceContextTextMapPropagator().extract({"traceparent": to})).get_span_context())


def record(above: "Span | None", name: str, began: float, attributes: Mapping[str, float | str]) -> None:
    """Record a span that ends now, below another one.

    Args:
        above: the span that it is a part of; None: nothing is recorded.
        name: what was done.
        began: when, by `time.perf_counter`.
        attributes: what to say of it.
    """
    if above is None:
        return
    from opentelemetry.trace import set_span_in_context

    start = time.time_ns() - round(1e9 * (time.perf_counter() - began))
    _providers[0].get_tracer(NAME).start_span(name, set_span_in_context(above), attributes=attributes, start_time=start).end()
