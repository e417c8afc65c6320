"""Traces by OpenTelemetry, if ``traces_url`` is set: one span for a request with segments, one for its batch.

Attributes are counts and members of small closed sets; no path, patient, device or person is one. A caller's
``traceparent`` is taken on. Needs the extra ``otel``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from einthoven.errors import InputInvalid
from einthoven.version import __version__

__all__ = ["NO_TRACES", "Spans", "open_spans"]


class Spans(Protocol):
    """Where spans go."""

    def request(
        self, traceparent: str, encoding: str, segments: int
    ) -> AbstractContextManager[dict[str, int]]:
        """One request with segments; whoever enters puts in what became of them, by status."""
        ...

    def batch(self, segments: int) -> AbstractContextManager[None]:
        """One transaction."""
        ...

    def close(self) -> None:
        """Send what was not sent yet."""
        ...


class _NoTraces:
    def request(
        self,
        traceparent: str,  # noqa: ARG002 - nobody listens
        encoding: str,  # noqa: ARG002
        segments: int,  # noqa: ARG002
    ) -> AbstractContextManager[dict[str, int]]:
        return nullcontext({})

    def batch(self, segments: int) -> AbstractContextManager[None]:  # noqa: ARG002
        return nullcontext()

    def close(self) -> None:
        pass


NO_TRACES: Spans = _NoTraces()


class _OpenTelemetry:
    def __init__(self, url: str, api: Any, sdk: Any, exporter: Any, resource: Any) -> None:
        self._trace = api
        self._provider = sdk.TracerProvider(
            resource=resource({"service.name": "einthoven", "service.version": __version__})
        )
        self._provider.add_span_processor(sdk.export.BatchSpanProcessor(exporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("einthoven")

    @contextmanager
    def request(self, traceparent: str, encoding: str, segments: int) -> Iterator[dict[str, int]]:
        outcomes: dict[str, int] = {}
        attributes = {"encoding": encoding, "segments": segments}
        with self._tracer.start_as_current_span(
            "ingest", context=self._parent(traceparent), attributes=attributes, record_exception=False
        ) as span:
            yield outcomes
            for status, count in outcomes.items():
                span.set_attribute(status, count)

    @contextmanager
    def batch(self, segments: int) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            "batch", attributes={"segments": segments}, record_exception=False
        ):
            yield

    def close(self) -> None:
        self._provider.shutdown()

    def _parent(self, traceparent: str) -> Any:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - an extra
            TraceContextTextMapPropagator,
        )

        return TraceContextTextMapPropagator().extract({"traceparent": traceparent}) if traceparent else None


def open_spans(url: str) -> Spans:
    """Spans to the OTLP/HTTP endpoint at a URL; none for an empty one.

    Raises
    ------
    InputInvalid : the extra is not installed.
    """
    if not url:
        return NO_TRACES
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an extra
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk import trace as sdk  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import export  # noqa: F401, PLC0415 - makes sdk.export
    except ImportError as error:
        raise InputInvalid(
            "traces need OpenTelemetry, which is not installed.",
            where="traces_url",
            remedy="Run: pip install 'einthoven[otel]'.",
        ) from error
    return _OpenTelemetry(url, trace, sdk, OTLPSpanExporter, Resource.create)
