from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from banditd.obs.metrics import Metrics


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_metric_is_ours_in_base_units_and_explained() -> None:
    metrics = Metrics(version="1.2.3")
    families = list(text_string_to_metric_families(metrics.render().decode()))
    assert len(families) > 20
    for family in families:
        # Those of OpenTelemetry's GenAI conventions keep their names.
        assert family.name.startswith(("banditd_", "process_", "gen_ai_client_"))
        assert family.documentation.strip(), family.name
        assert not re.search(r"_(ms|us|millis|minutes|kb|mb|percent)$", family.name), family.name
    assert sample(metrics, "banditd_build_info", version="1.2.3") == 1


def test_two_daemons_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.count(one.rewards, "recorded")
    assert sample(one, "banditd_rewards_total", outcome="recorded") == 1
    assert sample(other, "banditd_rewards_total", outcome="recorded") is None


def test_invented_label_values_cannot_grow_without_bound() -> None:
    metrics = Metrics()
    for number in range(4500):
        metrics.count(metrics.degraded, f"policy-{number}", "encoder_timeout")
    lines = [line for line in metrics.render().decode().splitlines() if "banditd_degraded_total{" in line]
    assert len(lines) == 4001
    assert sample(metrics, "banditd_degraded_total", policy="_other", reason="_other") == 500


def test_a_child_is_looked_up_once() -> None:
    metrics = Metrics()
    assert metrics.child(metrics.rewards, "held") is metrics.child(metrics.rewards, "held")
    assert metrics.child(metrics.rewards, "held") is not metrics.child(metrics.usage_reports, "held")


def test_row_counts_are_published_by_table() -> None:
    metrics = Metrics()
    metrics.set_rows({"decision": 7, "queue": 0})
    assert sample(metrics, "banditd_rows", table="decision") == 7
    assert sample(metrics, "banditd_rows", table="queue") == 0


def test_arms_that_are_gone_take_all_their_gauges_with_them_and_may_come_back() -> None:
    metrics = Metrics()
    for policy in ("a", "b"):
        metrics.set_arms(policy, {"small": (True, 0.5), "large": (False, None)})
        for arm in ("small", "large", "never-published"):
            metrics.child(metrics.arm_changed, policy, arm).set(1)  # type: ignore[union-attr]
    names = ("banditd_arm_enabled", "banditd_arm_mean_reward", "banditd_arm_changed")

    def shown(policy: str, arm: str) -> list[float | None]:
        return [sample(metrics, name, policy=policy, arm=arm) for name in names]

    metrics.set_arms("a", {"large": (True, None)})
    assert shown("a", "small") == shown("a", "never-published") == [None, None, None]
    assert shown("a", "large") == [1, None, 1]
    assert shown("b", "small") == [1, 0.5, 1]
    metrics.child(metrics.arm_changed, "a", "small").set(0)  # type: ignore[union-attr]
    assert shown("a", "small") == [None, None, 0]


def test_a_gauge_without_a_value_is_absent() -> None:
    metrics = Metrics()
    metrics.show(metrics.baseline_gap, None, "default")
    metrics.show(metrics.baseline_gap, 0.0, "default")
    assert sample(metrics, "banditd_baseline_gap", policy="default") == 0.0
    metrics.show(metrics.baseline_gap, None, "default")
    assert sample(metrics, "banditd_baseline_gap", policy="default") is None
    metrics.set_arms("default", {"small": (True, 0.5)})
    metrics.set_arms("default", {"small": (True, None)})
    assert sample(metrics, "banditd_arm_mean_reward", policy="default", arm="small") is None
