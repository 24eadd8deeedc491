"""Reports by tag: for the decisions with one value, or grouped by the values of a tag; and names of clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from banditd.core.errors import InvalidInputError, NotFoundError
from banditd.core.times import iso_time
from banditd.core.types import MICROSECONDS_PER_SECOND
from banditd.ope.fixed import FIXED_ARM_SUMS
from banditd.ports import Clock, ReportReader
from banditd.ports.tags import REST, ClusterNames, TagReader, TagValue, busiest_first
from banditd.services.policy import PolicyRuntime
from banditd.services.reports.cluster_naming import ClusterNaming
from banditd.services.reports.headlines import read_headlines_by_value
from banditd.services.reports.judging import BesideReader, less_judging
from banditd.services.reports.one_value import OneValue
from banditd.services.reports.period import period_of
from banditd.services.reports.reports import ReportService
from banditd.services.reports.rows import REWARD_SUMS, STEP_SUMS, reward_of, step_row
from banditd.services.reports.savings import estimate_answer, fixed_arm_sums
from banditd.services.reports.summaries import Row, add_up, ratio

SERIES: Final = 12
"""Most values that a time series shows separately; the period's others are added up."""
_MAX_NAME: Final = 80
GROUP_SUMS: Final = (
    "decisions", "explored", *REWARD_SUMS, "spend_usd", "predicted_spend_usd", "latency_ms_sum", "latency_reports",
    "fixed_decisions", "fixed_cost_usd", *FIXED_ARM_SUMS,
)  # fmt: skip
"""What a report reads of every value: the others cost half of the time where there are many values."""


class TagReports:
    """Statistics, time series and contexts by tag; names of clusters."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        reports: ReportService,
        reader: ReportReader,
        tags: TagReader,
        names: ClusterNames,
        clock: Clock,
        beside: BesideReader,
    ) -> None:
        self._runtimes = runtimes
        self._reports = reports
        self._reader = reader
        self._tags = tags
        self._names = names
        self._clock = clock
        self._beside = beside
        self.naming = ClusterNaming(runtimes=runtimes, tags=tags, names=names)

    # ------------------------------------------------------------ tags and their values

    async def tags(self, policy: str) -> dict[str, object]:
        """Every tag with counters, and its values, most frequent first. Raises NotFoundError."""
        await self._reports.arms_of(policy)
        by_tag: dict[str, list[tuple[str, int]]] = {}
        for tag, value, decisions in await self._tags.values(policy):
            by_tag.setdefault(tag, []).append((value, decisions))
        found: list[dict[str, object]] = []
        for tag, values in sorted(by_tag.items(), key=lambda one: (-sum(n for _, n in one[1]), one[0])):
            counts = dict(values)
            counted = [
                {"value": value or None, "other": value == REST, "decisions": counts[value]}
                for value in busiest_first(counts)
                if value != REST or counts[value]
            ]
            found.append({"tag": tag, "decisions": sum(n for _, n in values), "values": counted})
        return {"policy": policy, "tags": found}

    async def value_of(self, policy: str, text: str) -> TagValue:
        """Parse ``NAME:VALUE``: the longest tag name that has counters, else everything before the first colon.

        Names may contain colons. An empty value means all values without counters of their own.
        """
        known = {tag for tag, _, _ in await self._tags.values(policy)}
        cuts = [at for at, letter in enumerate(text) if letter == ":" and at > 0]
        if not cuts:
            raise InvalidInputError("give a tag and its value, such as task:summarise", field="tag")
        cut = next((at for at in reversed(cuts) if text[:at] in known), cuts[0])
        return TagValue(text[:cut], text[cut + 1 :] or None)

    async def rows_by_value(
        self, policy: str, tag: str, since_us: int | None, until_us: int | None, sums: Sequence[str]
    ) -> list[tuple[TagValue, list[Row]]]:
        """For every value the ``sums`` (of ``ReportReader.arm_totals``) per arm; most decisions first, the rest
        last.
        """
        by_value: dict[str, list[Row]] = {}
        for row in await self._tags.totals(policy, tag, None, since_us, until_us, sums):
            by_value.setdefault(str(row["value"]), []).append(row)
        decisions = {value: sum(int(row["decisions"]) for row in rows) for value, rows in by_value.items()}
        return [
            (TagValue(tag, value or None), by_value[value]) for value in busiest_first(decisions) if decisions[value]
        ]

    # ------------------------------------------------------------ reports

    async def stats(
        self, policy: str, window_s: int | None, *, of: str | None = None, by: str | None = None
    ) -> dict[str, object]:
        """``ReportService.stats`` of the decisions with one value, or with a group for every value of a tag."""
        if of is not None:
            value = await self.value_of(policy, of)
            return await self._only(value).stats(policy, window_s) | {"tag": value.fields()}
        answer = await self._reports.stats(policy, window_s)
        if by is None:
            return answer
        since_us = None if window_s is None else self._clock.now_us() - window_s * MICROSECONDS_PER_SECOND
        groups = [
            _group(value, rows) for value, rows in await self.rows_by_value(policy, by, since_us, None, GROUP_SUMS)
        ]
        tagged = sum(int(group["decisions"]) for group in groups)  # type: ignore[call-overload]  # our own rows
        without = max(0, int(answer["decisions"]) - tagged)  # type: ignore[call-overload]  # of our own answer
        return answer | {"groups": groups, "without_tag": without}

    async def savings(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None,
        step_s: int | None = None,
        *,
        of: str | None = None,
        by: str | None = None,
        most: int | None = None,
    ) -> dict[str, object]:
        """``ReportService.savings`` of one value, or with the same of every value of a tag, or of the busiest."""
        if of is not None:
            value = await self.value_of(policy, of)
            return await self._only(value).savings(policy, since_us, until_us, step_s) | {"tag": value.fields()}
        answer = await self._reports.savings(policy, since_us, until_us, step_s)
        answer |= less_judging(answer, await self._beside.spent(policy, since_us, until_us))
        if by is None:
            return answer
        found = await read_headlines_by_value(
            self._reader, self._tags, policy, by, self._reports.reference_of(policy), self._clock.now_us(),
            (since_us, until_us), most,
        )  # fmt: skip
        groups = [value.fields() | one for value, one in found]
        return answer | {"groups": groups}

    async def timeseries(
        self,
        policy: str,
        since_us: int | None,
        until_us: int | None,
        step_s: int,
        *,
        of: str | None = None,
        by: str | None = None,
    ) -> dict[str, object]:
        """``ReportService.timeseries`` of one value, or per step and value with the arms added up."""
        if of is not None:
            value = await self.value_of(policy, of)
            series = await self._only(value).timeseries(policy, since_us, until_us, step_s)
            return series | {"tag": value.fields()}
        if by is None:
            return await self._reports.timeseries(policy, since_us, until_us, step_s)
        await self._reports.arms_of(policy)
        since_us, until_us = period_of(since_us, until_us, step_s, self._clock.now_us())
        rows = await self._tags.timeseries(
            policy, by, None, since_us=since_us, until_us=until_us, step_s=step_s, sums=STEP_SUMS
        )
        return {
            "policy": policy,
            "since": iso_time(since_us),
            "until": iso_time(until_us),
            "step_s": step_s,
            "steps": _steps(by, rows),
        }

    async def contexts(self, policy: str, *, of: str | None = None, by: str | None = None) -> dict[str, object]:
        """``ReportService.contexts`` with names of the clusters, of one value; or the values of a tag instead."""
        if by is not None:
            await self._reports.arms_of(policy)
            groups = [
                _group(value, rows) for value, rows in await self.rows_by_value(policy, by, None, None, GROUP_SUMS)
            ]
            kept = ("tag", "value", "other", "decisions", "best_arm", "arms")
            return {
                "policy": policy,
                "clusters": [],
                "groups": [{name: group[name] for name in kept} for group in groups],
            }
        reports, extra = self._reports, dict[str, object]()
        if of is not None:
            value = await self.value_of(policy, of)
            reports, extra = self._only(value), {"tag": value.fields()}
        answer = await reports.contexts(policy)
        clusters: list[dict[str, Any]] = answer["clusters"]  # type: ignore[assignment]  # our own answer
        names = await self.naming.of(policy)
        for row in clusters:
            name = names(row["cluster"], row["words"])
            row |= {"name": name.name, "name_source": name.source}
            if of is not None:
                # The model predicts for a whole cluster, not for its queries with a tag.
                for arm in row["arms"]:
                    arm |= {"posterior_mean": None, "posterior_deviation": None, "posterior_interval": None}
        return answer | extra

    async def rename(self, policy: str, cluster: int, name: str | None) -> dict[str, object]:
        """Name a cluster, or remove its name.

        Raises
        ------
        NotFoundError : this daemon does not serve the policy, or there is no such cluster.
        """
        runtime = self._runtimes.get(policy)
        if runtime is None:
            known = ", ".join(self._runtimes)
            raise NotFoundError(
                f"no such policy is served: {policy}; there are {known}", code="POLICY_UNKNOWN", field="policy"
            )
        words = runtime.builder.cluster_words
        if not 0 <= cluster < len(words):
            raise NotFoundError(
                f"no cluster {cluster}: they are numbered from 0 to {len(words) - 1}", code="CONTEXT_UNKNOWN"
            )
        if name is not None and not 1 <= len(name.strip()) <= _MAX_NAME:
            raise InvalidInputError(f"a name has 1 to {_MAX_NAME} characters", field="/name")
        kept = None if name is None else name.strip()
        await self._names.rename(policy, runtime.builder.maps_hash, cluster, kept, self._clock.now_us())
        found = (await self.naming.of(policy))(cluster, words[cluster])
        return {"policy": policy, "cluster": cluster, "name": found.name, "name_source": found.source}

    # ------------------------------------------------------------ inside

    def _only(self, value: TagValue) -> ReportService:
        return self._reports.reading(OneValue(self._reader, self._tags, value))


def _group(value: TagValue, rows: Sequence[Row]) -> dict[str, object]:
    total = add_up(rows)
    decisions = int(total.get("decisions", 0))
    reward = reward_of(total)
    cells = [_cell(row, decisions) for row in sorted(rows, key=lambda row: str(row["arm"]))]
    return {
        **value.fields(),
        "decisions": decisions,
        "exploration_rate": ratio(total.get("explored", 0.0), decisions),
        **reward.fields(),
        "coverage_share": ratio(reward.rewards, decisions),
        "spend_usd": total.get("spend_usd", 0.0),
        "predicted_spend_usd": total.get("predicted_spend_usd", 0.0),
        "best_arm": _clear_winner(rows),
        "arms": cells,
    }


def _cell(row: Row, of_value: int) -> dict[str, object]:
    """One arm on the queries with one value. ``always``: what it would earn on all rated ones."""
    decisions = int(row["decisions"])
    always = fixed_arm_sums(row).mean_reward()
    return {
        "arm": str(row["arm"]),
        "decisions": decisions,
        "share": ratio(decisions, of_value),
        **reward_of(row).fields(),
        "always": None if always is None or always.interval is None else estimate_answer(always),
        "spend_usd": float(row.get("spend_usd", 0.0)),
        "cost_usd_per_decision": ratio(float(row.get("fixed_cost_usd", 0.0)), float(row.get("fixed_decisions", 0))),
        "mean_latency_ms": ratio(float(row.get("latency_ms_sum", 0.0)), float(row.get("latency_reports", 0))),
    }


def _clear_winner(rows: Sequence[Row]) -> str | None:
    """The arm that would earn most on all rated decisions, if its interval is above every other arm's."""
    known = []
    for row in rows:
        always = fixed_arm_sums(row).mean_reward()
        if always is None or always.interval is None:
            return None
        known.append((always.mean, always.interval, str(row["arm"])))
    if len(known) < 2:
        return None
    known.sort(reverse=True)
    (_, best, arm), *others = known
    return arm if all(interval[1] < best[0] for _, interval, _ in others) else None


def _steps(tag: str, rows: Sequence[Row]) -> list[dict[str, object]]:
    """Rows per step and value; the period's busiest values separately, all others together."""
    decisions: dict[str, int] = {}
    for row in rows:
        value = str(row["value"])
        decisions[value] = decisions.get(value, 0) + int(row["decisions"])
    apart = set(sorted(decisions.keys() - {REST}, key=lambda value: (-decisions[value], value))[:SERIES])
    together: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        value = str(row["value"])
        place = value if value in apart else REST
        together.setdefault((int(row["bucket_at_us"]), place), []).append(row)
    order = sorted(together.items(), key=lambda one: (one[0][0], one[0][1] == REST, -decisions.get(one[0][1], 0)))
    steps = []
    for (bucket_at_us, value), rows_of_step in order:
        added: dict[str, float | str] = {"arm": "", **add_up(rows_of_step)}
        extra = step_row(added)
        del extra["arm"]
        steps.append({"at": iso_time(bucket_at_us), **TagValue(tag, value or None).fields(), **extra})
    return steps
