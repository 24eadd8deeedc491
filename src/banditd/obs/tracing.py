"""OpenTelemetry traces: an optional extra, off unless the standard ``OTEL_*`` variables ask for it.

The only place that knows the library, and it imports it only when it is asked for. Spans carry ids, names and
numbers, never the text of a query and no exception's message.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from banditd.core.errors import BanditdError, ConfigurationError

Attribute = str | bool | int | float | list[str]
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = ("otlp", "console")


class Tracing:
    """Makes spans. ``provider`` is a ``TracerProvider`` of the OpenTelemetry SDK."""

    def __init__(self, provider: Any, *, version: str = "") -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an optional extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("banditd", version)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Attribute] | None = None) -> Iterator[Any]:
        """A span around a block, child of the current one. An exception marks it failed with its code."""
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                code = error.code if isinstance(error, BanditdError) else type(error).__name__
                span.set_attribute("error.type", code)
                span.set_status(self._trace.StatusCode.ERROR)
                raise

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Attribute]) -> Iterator[Any]:
        """A server's span that continues the trace of the caller's ``traceparent``, if there is one."""
        with self._tracer.start_as_current_span(
            name,
            context=self._propagator.extract(headers),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
        ) as span:
            yield span

    def past(self, name: str, started_ns: int, ended_ns: int) -> None:
        """A span that is over, child of the current one. Nanoseconds since the Unix epoch."""
        self._tracer.start_span(name, start_time=started_ns).end(end_time=ended_ns)

    @staticmethod
    def trace_id(span: Any) -> str:
        """Of the span's trace: 32 hexadecimal digits."""
        return f"{span.get_span_context().trace_id:032x}"

    @staticmethod
    def now_ns() -> int:
        """The clock of ``past``."""
        return time.time_ns()

    def close(self) -> None:
        """Send what waits. Blocks as long as ``OTEL_BSP_EXPORT_TIMEOUT`` and the exporter's timeout allow."""
        self._provider.shutdown()


def tracing_from(environment: Mapping[str, str], *, version: str = "") -> Tracing | None:
    """What the standard variables ask for; None, and nothing imported, when they do not ask for traces.

    On with ``OTEL_TRACES_EXPORTER`` (``otlp``, ``console`` or both) or with an OTLP endpoint; off with
    ``OTEL_SDK_DISABLED=true`` or the exporter ``none``. Sampling, batching, headers, timeouts and resource
    attributes are the SDK's own variables.

    Raises
    ------
    ConfigurationError : the extra is not installed, or an exporter or protocol is asked for that is not there.
    """
    names = _exporters(environment)
    if not names:
        return None
    try:
        return Tracing(_provider(names, environment, version), version=version)
    except ImportError as error:
        raise ConfigurationError(
            f"OTEL_* variables ask for traces, but {error.name} is not installed: pip install 'banditd[otel]', "
            "or set OTEL_SDK_DISABLED=true"
        ) from error


def _exporters(environment: Mapping[str, str]) -> list[str]:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return []
    stated = environment.get("OTEL_TRACES_EXPORTER", "")
    if not stated and any(environment.get(name) for name in _ENDPOINTS):
        stated = "otlp"
    names = [name.strip() for name in stated.split(",") if name.strip() not in {"", "none"}]
    for name in names:
        if name not in _EXPORTERS:
            raise ConfigurationError(
                f"OTEL_TRACES_EXPORTER={stated}: {name} is not one of {', '.join(_EXPORTERS)}, none"
            )
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if "otlp" in names and protocol != "http/protobuf":
        raise ConfigurationError(
            f"{protocol} is not among the OTLP protocols spoken here: use http/protobuf (port 4318 of a collector)"
        )
    return names


def _provider(names: list[str], environment: Mapping[str, str], version: str) -> Any:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    attributes = {"service.version": version}
    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not named:
        attributes["service.name"] = "banditd"
    provider = TracerProvider(resource=Resource.create(attributes))
    if "otlp" in names:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    if "console" in names:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    return provider
