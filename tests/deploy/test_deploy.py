"""What deploy/ says fits the daemon: metrics and labels exist, expressions parse, settings are settings."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from aiohttp.test_utils import make_mocked_request
from prometheus_client.parser import text_string_to_metric_families

from banditd.core.errors import ConfigurationError
from banditd.obs.metrics import Metrics
from banditd.settings import ServerSettings, load_settings
from banditd.web.origin import Doorman
from banditd.web.routes import ROUTES

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
# What Prometheus itself adds to every series, and its own series.
SCRAPE_LABELS = {"job", "instance"}
DURATION = re.compile(r"\d+[smhd]")
HISTOGRAM = ("_bucket", "_sum", "_count")


def panel_expressions() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    found += [entry["expr"] for entry in DASHBOARD["annotations"]["list"]]
    return [expr.replace("$__rate_interval", "5m").replace("$policy", ".*") for expr in found]


EXPRESSIONS = [*(rule["expr"] for rule in RULES), *panel_expressions()]


def series() -> dict[str, set[str]]:
    """Every series that /metrics can have: its name to its labels."""
    metrics = Metrics(version="1")
    found: dict[str, set[str]] = {"up": set()}
    labels = {
        name: set(getattr(collector, "_labelnames", ()) or getattr(collector, "_labels", ()))
        for collector, names in metrics.registry._collector_to_names.items()
        for name in names
    }
    for family in text_string_to_metric_families(metrics.render().decode()):
        own = labels.get(family.name, set())
        if family.type == "histogram":
            found |= {family.name + end: own | ({"le"} if end == "_bucket" else set()) for end in HISTOGRAM}
        elif family.type == "counter":
            found[f"{family.name}_total"] = own
        else:
            found[family.name] = own
    return found


SERIES = series()
RUNBOOKS = "{{ $externalURL }}/user/operations/#"
"""Prometheus serves the site under /user/, see the head of the rules."""


def nodes(expression: Any) -> Iterator[Any]:
    """An expression of PromQL and everything below it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        below = getattr(expression, name, None)
        if below is not None:
            yield from nodes(below)
    for argument in getattr(expression, "args", None) or ():
        yield from nodes(argument)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_every_expression_is_promql_over_series_and_labels_that_exist(text: str) -> None:
    promql = pytest.importorskip("promql_parser", reason="promql-parser has no wheel for this platform")
    selectors = [node for node in nodes(promql.parse(text)) if isinstance(node, promql.VectorSelector)]
    assert selectors
    known: set[str] = set()
    for selector in selectors:
        assert selector.name in SERIES, selector.name
        known |= SERIES[selector.name] | SCRAPE_LABELS
        for matcher in selector.matchers.matchers:
            assert matcher.name in SERIES[selector.name] | SCRAPE_LABELS, (selector.name, matcher.name)
    grouped = re.findall(r"\b(?:by|on|group_left) \(([^)]*)\)", text)
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known


def test_the_walk_over_expressions_finds_selectors_in_depth() -> None:
    promql = pytest.importorskip("promql_parser", reason="promql-parser has no wheel for this platform")
    text = 'histogram_quantile(0.9, sum by (le) (rate(a_bucket{x="1"}[5m]))) > 2 * min_over_time(max(b)[5m:1m])'
    names = [node.name for node in nodes(promql.parse(text)) if isinstance(node, promql.VectorSelector)]
    assert names == ["a_bucket", "b"]


def test_no_metric_has_a_label_that_prometheus_would_overwrite_or_that_grows_with_traffic() -> None:
    forbidden = SCRAPE_LABELS | {
        "id",
        "decision_id",
        "request_id",
        "session_id",
        "user",
        "tag",
        "tags",
        "key",
        "path",
    }
    assert {name: labels & forbidden for name, labels in SERIES.items() if labels & forbidden} == {}


def test_alerts_have_the_shape_that_prometheus_loads_and_a_runbook_that_is_there() -> None:
    assert set(ALERTS) == {"groups"}
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 10
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
        assert DURATION.fullmatch(rule.get("for", "1m")), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "runbook_url"}
        # An address, which tests/docs/test_site.py looks up in the site; no host that is not the operator's own.
        assert rule["annotations"]["runbook_url"] == RUNBOOKS + rule["alert"].lower()
        assert f"### {rule['alert']}\n" in operations
    headings = re.findall(r"^### (Banditd\w+)$", operations, re.MULTILINE)
    assert sorted(headings) == sorted(names)


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or panel["description"], panel["title"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert "http" not in json.dumps(DASHBOARD).replace("banditd_http", "")


def test_every_metric_of_the_daemon_is_watched_or_known_not_to_be() -> None:
    text = " ".join(EXPRESSIONS)
    unwatched = {
        name.removesuffix("_bucket")
        for name in SERIES
        if name.startswith("banditd_") and not name.endswith(("_sum", "_count", "_created")) and name not in text
    }
    assert unwatched == {
        "banditd_build_info", "banditd_classifier_queries_total", "banditd_classifier_spend_usd_total",
        "banditd_fold_seconds",
        "banditd_gateway_usage_estimated_total", "banditd_golden_spend_usd_total",
        "banditd_http_request_seconds", "banditd_job_seconds",
        "banditd_job_last_run_timestamp_seconds", "banditd_judge_spend_usd_total",
        "banditd_log_dropped_lines_total", "banditd_rate_limited_total",
        "banditd_usage_reports_total", "banditd_wal_bytes",
        "banditd_promise_price_per_usd", "banditd_promise_ratio",
        "banditd_promise_ratio_high", "banditd_promise_ratio_low",
        "banditd_savings_usd",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["compose.sqlite.yaml", "compose.postgres.yaml"])
def test_compose_files_configure_what_the_daemon_knows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    daemons = [service for service in content["services"].values() if "build" in service]
    assert len(daemons) == (1 if "sqlite" in name else 2)
    for service in daemons:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert all(port.startswith("127.0.0.1:") and port.endswith(":8484") for port in service["ports"])
        for variable, value in service["environment"].items():
            monkeypatch.setenv(variable, str(value))
        settings = load_settings(ROOT / "config.yaml")
        assert settings.server.host == "0.0.0.0"  # noqa: S104 - inside its container
        scheme = "sqlite" if "sqlite" in name else "postgresql"
        assert settings.database.url.get_secret_value().startswith(f"{scheme}://")
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in content["volumes"] or (DEPLOY / source).exists(), source


def manifests() -> list[dict[str, Any]]:
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert {path.name for path in folder.glob("*.yaml")} == {
        "kustomization.yaml", *listed["resources"], *listed["configMapGenerator"][0]["files"]
    }  # fmt: skip
    return [yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in listed["resources"]]


def test_kubernetes_takes_the_manifests_and_they_name_each_other() -> None:
    found = {manifest["kind"]: manifest for manifest in manifests()}
    for manifest in found.values():
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    deployment, service = found["Deployment"]["spec"], found["Service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == service["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
    pod = deployment["template"]["spec"]
    assert [image["name"] for image in listed["images"]] == [pod["containers"][0]["image"]]
    assert pod["volumes"][0]["configMap"]["name"] == listed["configMapGenerator"][0]["name"]


def test_the_pods_of_kubernetes_are_configured_as_the_daemon_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    [deployment] = [manifest for manifest in manifests() if manifest["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "postgresql://banditd:secret@database/banditd"))
    settings = load_settings(DEPLOY / "kubernetes" / "config.yaml")
    server = settings.server
    assert container["ports"][0]["containerPort"] == server.port
    assert pod["terminationGracePeriodSeconds"] > server.drain_s + server.shutdown_timeout_s
    [service] = [manifest["metadata"]["name"] for manifest in manifests() if manifest["kind"] == "Service"]
    ends = ("", ".default", ".default.svc", ".default.svc.cluster.local")
    assert server.allowed_hosts == tuple(service + end for end in ends)
    routes = {route.path for route in ROUTES}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in routes


def test_the_secrets_of_kubernetes_are_made_by_the_names_that_pods_read() -> None:
    [deployment] = [manifest for manifest in manifests() if manifest["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    read = {variable["valueFrom"]["secretKeyRef"]["name"] for variable in container["env"] if "valueFrom" in variable}
    [providers] = [source["secretRef"] for source in container["envFrom"]]
    assert providers["optional"]  # arms without upstreams need none
    text = (DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"create secret generic (\S+)", text)) == {*read, providers["name"]}


def test_prometheus_gets_into_pods_with_a_key_and_is_not_sent_there_without() -> None:
    [deployment] = [manifest for manifest in manifests() if manifest["kind"] == "Deployment"]
    assert "annotations" not in deployment["spec"]["template"]["metadata"]
    text = (DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8")
    lines = text[text.index("#   - job_name") : text.index("apiVersion")].splitlines()
    [job] = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))
    [service] = [manifest["metadata"]["name"] for manifest in manifests() if manifest["kind"] == "Service"]
    assert [label["regex"] for label in job["relabel_configs"]] == [service]
    assert job["authorization"]["credentials_file"]
    # What the comment says of names: an address is foreign without keys, and no name is with keys and no list.
    configured = load_settings(DEPLOY / "kubernetes" / "config.yaml").server.allowed_hosts
    request = make_mocked_request("GET", "/metrics", headers={"Host": "10.1.2.3:8484"})
    open_pod = Doorman(allowed_hosts=configured, bound_host="0.0.0.0", keyed=False)  # noqa: S104
    keyed_pod = Doorman(allowed_hosts=(), bound_host="0.0.0.0", keyed=True)  # noqa: S104
    assert (open_pod.knows(request), keyed_pod.knows(request)) == (False, True)


def test_the_lines_of_the_container_file_start_a_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for name, value in re.findall(r"(BANDITD_\w+)=(\S+)", text[text.index("ENV PATH") : text.index("USER 10001")]):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="allow_unauthenticated"):
        load_settings(ROOT / "config.yaml")
    [run] = re.findall(r"^#   (docker run .*ALLOW_UNAUTHENTICATED.*)$", text, re.MULTILINE)
    assert "-p 127.0.0.1:" in run
    hosts = re.findall(r"-e '(BANDITD_\w+)=([^']+)'", text)
    for name, value in [*re.findall(r"-e (BANDITD_\w+)=(\S+)", run), *hosts]:
        monkeypatch.setenv(name, value)
    server = load_settings(ROOT / "config.yaml").server
    assert server.allow_unauthenticated
    assert server.allowed_hosts == ("NAME",)


def test_a_reload_of_the_unit_reads_the_file_that_its_head_installs() -> None:
    text = (DEPLOY / "banditd.service").read_text(encoding="utf-8")
    [options, installed] = re.findall(r"^#   install (-D .*) config\.yaml (\S+)$", text, re.MULTILINE)[0]
    [started] = re.findall(r"^ExecStart=\S+ serve --config (\S+)$", text, re.MULTILINE)
    assert started == installed  # a credential would be a copy from the last start
    [group] = re.findall(r"^Group=(\S+)$", text, re.MULTILINE)
    assert options.split() == ["-D", "-m", "640", "-g", group]
    assert f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {group}\n" in text
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in text
    assert "EnvironmentFile=-/etc/banditd/environment\n" in text


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "banditd.service").read_text(encoding="utf-8")
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > ServerSettings().shutdown_timeout_s
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    unit = tmp_path / "banditd.service"
    unit.write_text(text.replace("/opt/banditd/bin/banditd", sys.executable), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "banditd.service" in line]) == (0, [])


def test_prometheus_scrapes_the_daemon_and_loads_the_rules() -> None:
    content = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text(encoding="utf-8"))
    assert all((DEPLOY / name).is_file() for name in content["rule_files"])
    [job] = content["scrape_configs"]
    assert job["job_name"] == "banditd"
    [targets] = job["static_configs"]
    assert all(target.endswith(f":{ServerSettings().port}") for target in targets["targets"])


def test_the_containerfile_is_sound() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint has no wheel for this platform")
    done = subprocess.run([hadolint, str(DEPLOY / "Containerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_the_containerfile_copies_is_enough_to_build_the_wheel(tmp_path: Path) -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY ([^-\n]+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    for name in copied:
        assert f"!{name}" in ignored, name
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert len(list((tmp_path / "dist").glob("banditd-*.whl"))) == 1
