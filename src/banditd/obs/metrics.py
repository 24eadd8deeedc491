"""Prometheus metrics: names, meanings, and handles that cost little on the hot path.

One ``Metrics`` per process with a registry of its own (no global one, so tests and embedded daemons do not
collide). Names are ``banditd_*`` in base units. Labels are few and bounded: policies, arms, outcomes, route
templates; never ids, users or tags of requests. Not a store: it forgets at restart, SQL does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from banditd.core.attempts import Attempt
from banditd.core.usage import Settled, refused
from banditd.obs.classifying import ClassifierMetrics
from banditd.obs.follow_ups import FollowUpMetrics
from banditd.obs.genai import GenAiMetrics
from banditd.obs.logs import dropped_lines
from banditd.obs.proving import ProvingMetrics
from banditd.obs.tally import TallyCounter, TallyHistogram

_FAST_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
)  # fmt: skip
_UPSTREAM_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
_DELAY_S: Final = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0, 2592000.0)
# A client may invent policy names; a label value must not follow it for ever.
_MAX_CHILDREN: Final = 4000
_OTHER: Final = "_other"


class _LogCollector(Collector):
    """Reads what the log's own thread has counted."""

    def collect(self) -> Iterable[CounterMetricFamily]:
        """One counter."""
        yield CounterMetricFamily(
            "banditd_log_dropped_lines", "Lines of the log that found no room: nobody read it.", value=dropped_lines()
        )


Labelled = Counter | Gauge | Histogram | TallyCounter | TallyHistogram


class Metrics(ProvingMetrics):
    """All metrics of one process.

    The ``*_total`` counters and histograms for requests are fed by ``web/``, the others by the services and
    jobs. Labelled children are looked up once and kept in plain dictionaries.
    """

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self, *, version: str = "") -> None:
        self.registry = CollectorRegistry()
        self._children: dict[tuple[str, ...], Any] = {}
        super().__init__(self.registry)
        self.follow_ups = FollowUpMetrics(self.registry)
        self.classifying = ClassifierMetrics(self.registry)
        ProcessCollector(registry=self.registry)  # process_*, the names that every dashboard knows
        self.registry.register(_LogCollector())
        self._define_requests()
        self._define_usage()
        self._define_gateway()
        self._define_learning()
        self._define_operations()
        self._gauge("banditd_build_info", "Version of the daemon (always 1).", "version").labels(version).set(1)

    def _define_requests(self) -> None:
        # What every request raises.
        self.requests = TallyCounter(
            "banditd_http_requests", "Requests answered.", ("method", "route", "status"), self.registry
        )
        self.request_seconds = TallyHistogram(
            "banditd_http_request_seconds",
            "Time from the head of a request to its answer.",
            _FAST_S,
            ("route",),
            self.registry,
        )
        self.route_overhead = TallyHistogram(
            "banditd_route_overhead_seconds",
            "Time that one routing decision takes, commit included.",
            _FAST_S,
            (),
            self.registry,
        ).labels()
        self.selections = TallyCounter(
            "banditd_arm_selections", "Decisions by arm.", ("policy", "arm", "explored"), self.registry
        )
        self.degraded = self._counter(
            "banditd_degraded", "Decisions made without a context, by reason.", "policy", "reason"
        )
        self.route_errors = self._counter(
            "banditd_route_errors", "Queries not routed, by the code of the problem.", "code"
        )
        self.rate_limited = self._counter("banditd_rate_limited", "Requests refused for their rate.")
        self.rewards = self._counter("banditd_rewards", "Rewards by what became of them.", "outcome")
        self.usage_reports = self._counter("banditd_usage_reports", "Usage reports.", "outcome")

    def _define_usage(self) -> None:
        """What clients report of the calls that they made; counted once per decision, by the arm that served."""
        self.spend = self._counter("banditd_spend_usd", "US dollars of settled usage.", "policy", "arm")
        self.tokens = self._counter("banditd_tokens", "Tokens of settled usage.", "policy", "arm", "direction")
        self.upstream_seconds = self._histogram(
            "banditd_upstream_seconds", "Time to a model's whole answer, as reported.", _UPSTREAM_S, "policy", "arm"
        )
        self.upstream_errors = self._counter(
            "banditd_upstream_errors", "Calls of a model that were reported as failed.", "policy", "arm"
        )

    def _define_gateway(self) -> None:
        """The calls that the daemon makes itself."""
        self.gateway_requests = self._counter(
            "banditd_gateway_requests", "Requests to the gateway by how they ended.", "surface", "outcome"
        )
        self.gateway_attempts = self._counter(
            "banditd_gateway_attempts", "Calls of upstreams: ok, or how they failed.", "policy", "arm", "outcome"
        )
        self.gateway_first_token = self._histogram(
            "banditd_gateway_first_token_seconds", "From a call to its first token.", _UPSTREAM_S, "policy", "arm"
        )
        self.gateway_usage_estimated = self._counter(
            "banditd_gateway_usage_estimated", "Answers whose usage was counted here: their upstream did not say."
        )
        self.gateway_open = self._gauge("banditd_gateway_open_requests", "Requests to the gateway that are running.")
        self.gen_ai = GenAiMetrics(self.registry)

    def _define_learning(self) -> None:
        self.reward_delay = self._histogram(
            "banditd_reward_delay_seconds", "Time from a decision to its first reward.", _DELAY_S, "policy"
        )
        self.folds = self._counter("banditd_folds", "Decisions folded into the statistics.", "policy")
        self.fold_seconds = self._histogram(
            "banditd_fold_seconds", "Time to fold and commit one micro-batch.", _FAST_S
        )
        self.policy_version = self._gauge("banditd_policy_version", "Snapshot version served.", "policy")
        self.snapshot_age = self._gauge("banditd_snapshot_age_seconds", "Age of the snapshot served.", "policy")
        self.exploration_ratio = self._gauge(
            "banditd_exploration_ratio", "Share of recent decisions that are not greedy.", "policy"
        )
        self.selection_entropy = self._gauge(
            "banditd_selection_entropy", "Mean entropy of recent probability vectors in nats.", "policy"
        )
        self.pending_decisions = self._gauge(
            "banditd_pending_decisions", "Decisions whose rewards wait for the learner."
        )
        self.change_alarms = self._counter(
            "banditd_change_alarms",
            "Changes of an arm's rewards found by this learner.",
            "policy",
            "arm",
            "direction",
        )
        self.arm_changed = self._gauge(
            "banditd_arm_changed", "1 while an arm's rewards are not at their old level.", "policy", "arm"
        )
        self.query_drift = self._gauge(
            "banditd_query_drift",
            "How far recent contexts lie from those before, 1 by chance; other queries from 4 on.",
            "policy",
        )
        self.arm_mean_reward = self._gauge(
            "banditd_arm_mean_reward", "Mean reward of an arm over its life, in [0, 1].", "policy", "arm"
        )
        self.arm_enabled = self._gauge("banditd_arm_enabled", "1 while an arm may be chosen.", "policy", "arm")
        self.learner_leader = self._gauge("banditd_learner_leader", "1 while this process is the learner.")

    def _define_operations(self) -> None:
        self.rows = self._gauge("banditd_rows", "Rows in the database by table.", "table")
        self.wal_bytes = self._gauge("banditd_wal_bytes", "Size of SQLite's write-ahead log; 0 on PostgreSQL.")
        self.budget_spend_ratio = self._gauge(
            "banditd_budget_spend_ratio", "Spend so far over the budget so far.", "policy", "budget"
        )
        self.pacer_lambda = self._gauge(
            "banditd_pacer_lambda", "Price of money (utility per USD).", "policy", "budget"
        )
        self.baseline_gap = self._gauge(
            "banditd_baseline_gap",
            "Estimated mean reward less that of the best random mix of two arms at the same cost.",
            "policy",
        )
        self.savings_usd = self._gauge(
            "banditd_savings_usd", "Saved against always the baseline, over the policy's life.", "policy"
        )
        self.savings_ratio = self._gauge(
            "banditd_savings_ratio", "The same as a share of what the baseline would have cost.", "policy"
        )
        self.quality_ratio = self._gauge(
            "banditd_quality_ratio",
            "Reward over what the baseline would have earned, and the ends of its 95 % interval.",
            "policy",
            "bound",
        )
        self.promise_held = self._gauge(
            "banditd_promise_held", "1 while the promise is known to be held, 0 broken; absent: not known.", "policy"
        )
        self.budget_charged = self._gauge(
            "banditd_budget_charged_usd", "Charged to a budget's account of all decisions.", "policy", "budget"
        )
        self.budget_stops = self._counter(
            "banditd_budget_stops",
            "Decisions that found a budget used up, and what was done.",
            "policy",
            "budget",
            "action",
        )
        self.constraints = self._counter(
            "banditd_constraints", "Queries for which a constraint held.", "policy", "constraint"
        )
        self._define_promises()
        self.job_runs = self._counter("banditd_job_runs", "Runs of background jobs.", "task", "outcome")
        self.job_seconds = self._gauge("banditd_job_seconds", "Duration of a job's last run.", "task")
        self.job_last_run = self._gauge(
            "banditd_job_last_run_timestamp_seconds", "When a job last ended, Unix time.", "task"
        )
        self.up = self._gauge("banditd_ready", "1 while the process is ready for traffic, as of this scrape.")

    def _define_promises(self) -> None:
        names = ("policy", "keep")
        self.promise_gauges = {
            "ratio": self._gauge("banditd_promise_ratio", "Mean reward over the baseline's.", *names),
            "low": self._gauge("banditd_promise_ratio_low", "Lower end of its 95 % interval.", *names),
            "high": self._gauge("banditd_promise_ratio_high", "Upper end of its 95 % interval.", *names),
            "share": self._gauge("banditd_promise_share", "Of the traffic that may leave the baseline.", *names),
            "price_per_usd": self._gauge("banditd_promise_price_per_usd", "Reward that a dollar must bring.", *names),
        }
        self.promise_state = self._gauge("banditd_promise_state", "1 for the state of a promise.", *names, "state")
        self.rollout_share = self._gauge(
            "banditd_rollout_share", "Share of the traffic that the policy decides.", "policy"
        )

    def child(self, metric: Labelled, *labels: str) -> Any:
        """The labelled child of a metric from a bounded cache, without the library's lock.

        Parameters
        ----------
        metric : one of this object's metrics. labels : its label values in order.

        Returns
        -------
        The child. Beyond four thousand children in all, new label values are counted as ``_other``.
        """
        key = (metric._name, *labels)  # noqa: SLF001 - the library offers no public name
        found = self._children.get(key)
        if found is None:
            if len(self._children) >= _MAX_CHILDREN:
                return metric.labels(*([_OTHER] * len(labels)))
            found = self._children[key] = metric.labels(*labels)
        return found

    def count(self, metric: Counter | TallyCounter, *labels: str, by: float = 1) -> None:
        """Add ``by`` (>= 0) to a counter's child (see ``child``)."""
        self.child(metric, *labels).inc(by)

    def observe(self, metric: Histogram, value: float, *labels: str) -> None:
        """Add a value to a histogram's child (see ``child``)."""
        self.child(metric, *labels).observe(value)

    def settled(self, settled: Settled, news: Sequence[Attempt]) -> None:
        """Count what a usage report told that was new. ``news`` : the attempts that were not known.

        Counters only rise: a correction downwards leaves them (the accounts and the statistics follow it).
        """
        policy, arm, before, after = settled.policy, settled.arm, settled.before, settled.after
        more_usd = (settled.cost_usd or 0.0) - (settled.cost_before_usd or 0.0)
        if more_usd > 0.0 or settled.cost_usd is not None:
            self.count(self.spend, policy, arm, by=max(more_usd, 0.0))
        for direction in ("input", "output"):
            tokens = getattr(after, f"{direction}_tokens")
            known = 0 if before is None else getattr(before, f"{direction}_tokens") or 0
            if tokens is not None:
                self.count(self.tokens, policy, arm, direction, by=max(tokens - known, 0))
        if after.latency_ms is not None and (before is None or before.latency_ms is None):
            self.observe(self.upstream_seconds, after.latency_ms / 1e3, policy, arm)
        if refused(after) and not (before is not None and refused(before)):
            self.count(self.follow_ups.answers, policy, arm, "refused")
        for one in news:
            if one.error is not None:
                self.count(self.upstream_errors, policy, one.arm)

    def show(self, gauge: Gauge, value: float | None, *labels: str) -> None:
        """Set a gauge's child, or take it away where there is no value: an old one would be read as today's."""
        if value is None:
            self._children.pop((gauge._name, *labels), None)  # noqa: SLF001 - the library offers no public name
            with suppress(KeyError):
                gauge.remove(*labels)
        else:
            gauge.labels(*labels).set(value)

    def show_savings(self, policy: str, found: Mapping[str, Any]) -> None:
        """Publish the headline of a policy, as ``GET /v1/savings`` gives it."""
        saved, lost = found["saved"], found["lost"]
        self.show(self.savings_usd, saved["usd"], policy)
        self.show(self.savings_ratio, saved["share"], policy)
        low, high = lost["quality_interval"] or (None, None)
        for bound, value in (("value", lost["quality_ratio"]), ("low", low), ("high", high)):
            self.show(self.quality_ratio, value, policy, bound)
        self.show(self.promise_held, {"yes": 1.0, "no": 0.0}.get(found["held"]), policy)

    def set_arms(self, policy: str, arms: Mapping[str, tuple[bool, float | None]]) -> None:
        """Publish the arms of a policy: name to (enabled, mean reward or None). Arms that are gone disappear."""
        for gauge in (self.arm_enabled, self.arm_mean_reward, self.arm_changed):
            for family in list(gauge.collect()):
                for sample in family.samples:
                    if sample.labels["policy"] == policy and sample.labels["arm"] not in arms:
                        self.show(gauge, None, policy, sample.labels["arm"])
        for arm, (enabled, mean) in arms.items():
            self.show(self.arm_enabled, enabled, policy, arm)
            self.show(self.arm_mean_reward, mean, policy, arm)

    def set_promises(self, policy: str, promises: Mapping[str, Mapping[str, Any]]) -> None:
        """Publish a policy's promises: keep as text to what is said of it. Those that are gone disappear."""
        for gauge in (*self.promise_gauges.values(), self.promise_state):
            for family in list(gauge.collect()):
                for sample in family.samples:
                    labels = sample.labels
                    if labels["policy"] != policy:
                        continue
                    found = promises.get(labels["keep"])
                    if found is None or labels.get("state", found["state"]) != found["state"]:
                        gauge.remove(*labels.values())
        for keep, one in promises.items():
            for name, gauge in self.promise_gauges.items():
                self.show(gauge, one[name] if name in one else one["quality"][name], policy, keep)
            self.promise_state.labels(policy, keep, one["state"]).set(1)

    def set_rows(self, totals: Mapping[str, int]) -> None:
        """Publish the row counts of ``ReportReader.totals``: table name to count (>= 0)."""
        for table, rows in totals.items():
            self.rows.labels(table).set(rows)

    def render(self) -> bytes:
        """The text exposition of every metric (``content_type`` names its format)."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, registry=self.registry, buckets=buckets)
