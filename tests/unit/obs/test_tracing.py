"""When traces are on, and what happens when they are asked for wrongly; no library needed for most of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from banditd.core.errors import ConfigurationError
from banditd.obs.tracing import tracing_from
from banditd.services.traced import traced_ports


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "TRUE"},
    ],
)
def test_without_being_asked_for_there_is_no_tracing(environment: dict[str, str]) -> None:
    assert tracing_from(environment) is None


def test_off_means_that_the_very_same_parts_are_called() -> None:
    """The no-op check: a query that is not traced walks through no wrapper at all."""
    encoder, log = object(), object()
    assert traced_ports(encoder, log, None) == (encoder, log)  # type: ignore[arg-type, comparison-overlap]


def test_off_means_that_nothing_is_imported() -> None:
    code = (
        "import sys; from banditd.daemon.serve import tracing_from\n"
        "assert tracing_from({}) is None; print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin is not one of otlp, console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_what_is_not_there_is_refused_with_the_mend(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        tracing_from(environment)


def test_without_the_extra_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("opentelemetry", "opentelemetry.sdk", "opentelemetry.sdk.resources"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"pip install 'banditd\[otel\]'"):
        tracing_from({"OTEL_TRACES_EXPORTER": "console"})


def test_the_standard_variables_make_a_provider() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra 'otel' is not installed")
    tracing = tracing_from({"OTEL_TRACES_EXPORTER": "otlp,console"}, version="1.2.3")
    assert tracing is not None
    resource = tracing._provider.resource.attributes
    assert (resource["service.name"], resource["service.version"]) == ("banditd", "1.2.3")
    tracing._provider._active_span_processor._span_processors = ()  # nothing to send, nobody to send it to
    tracing.close()


def test_spans_arrive_at_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra 'otel' is not installed")
    got: list[tuple[str, str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Content-Type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        tracing = tracing_from({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
        assert tracing is not None
        with tracing.span("banditd.route", {"banditd.decision_id": "0198c2f0"}):
            pass
        tracing.close()
        thread.join(10)
    [(path, kind, body)] = got
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    assert b"banditd.route" in body
    assert b"0198c2f0" in body


def test_a_service_name_of_the_operator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra 'otel' is not installed")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "router-eu")
    tracing = tracing_from({"OTEL_TRACES_EXPORTER": "console", "OTEL_SERVICE_NAME": "router-eu"})
    assert tracing is not None
    assert tracing._provider.resource.attributes["service.name"] == "router-eu"
    tracing.close()
