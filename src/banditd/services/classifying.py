"""A policy's classifier: before routing, a model is asked to label the query, and the label becomes a tag.

It never fails a query: if there is no label within ``timeout_s``, the query stays as it was. A call is a task of its
own and outlives the queries that wait for it: it is always charged, and its label cached.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final, NamedTuple

from banditd.core.classifying import CLASSIFIED, QUERY, ClassifierRule
from banditd.core.errors import BanditdError
from banditd.core.judging import JudgeCost
from banditd.core.types import Query
from banditd.obs.metrics import Metrics
from banditd.ports import Clock
from banditd.ports.classifying import ClassifierStore
from banditd.ports.upstreams import UpstreamCall, UpstreamError, UpstreamReply, Upstreams
from banditd.services.breakers import Breakers
from banditd.services.judging.texts import answer_text, behind_thoughts, shortened
from banditd.services.judging.worker import cost_of
from banditd.services.patience import patiently

logger = logging.getLogger(__name__)
SPENT_PAUSE_S: Final = 60.0
"""How long to wait before an account without money is checked again."""
CLOSE_S: Final = 2.0
"""How long a daemon that is closing waits for running calls."""
MOST_REPLY_BYTES: Final = 262_144
"""A longer reply is not a label and is not parsed, which would hold up the event loop."""
_MOST_LABEL_CHARS: Final = 1000
_CALLS: Final = "classifier"


class _Labelled(NamedTuple):
    """label : None if there is none. outcome : of ``ClassifierMetrics.queries``."""

    label: str | None
    outcome: str


class Classifier:
    """The classifier of one policy in one process. keyed_hash : hashes a text; labels are cached by hash."""

    def __init__(
        self,
        rule: ClassifierRule,
        store: ClassifierStore,
        upstreams: Upstreams,
        breakers: Breakers,
        keyed_hash: Callable[[str], str],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.rule = rule
        self._store = store
        self._upstreams = upstreams
        self._breakers = breakers
        self._keyed_hash = keyed_hash
        self._clock = clock
        self._metrics = metrics.classifying
        self._places = asyncio.Semaphore(rule.concurrency)
        self._known: OrderedDict[str, str | None] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[_Labelled]] = {}
        self._booking: set[asyncio.Task[None]] = set()
        self._spent_until_s = 0.0

    async def tagged(self, query: Query) -> tuple[Query, Mapping[str, float]]:
        """The query with its tag, and the facts to record about where the tag came from.

        The query is unchanged if its caller has set the tag, if it has no text, or if its arm is already fixed (named
        by the query, or kept by an open turn).
        """
        rule, text = self.rule, query.text
        has_arm = query.pinned or (query.turn is not None and query.turn.open)
        if has_arm or rule.tag in query.tags or not text or text.isspace():
            return query, {}
        label = await self._label(shortened(text, rule.max_chars))
        if label is None:
            return query, {CLASSIFIED + rule.tag: 0.0}
        return replace(query, tags={**query.tags, rule.tag: label}), {CLASSIFIED + rule.tag: 1.0}

    async def close(self) -> None:
        """Wait briefly for running calls, then until all are charged; unfinished ones are charged what was
        reserved.
        """
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=CLOSE_S)
            for call in late:  # no query is waiting for them any more
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*self._booking, return_exceptions=True)

    async def _label(self, text: str) -> str | None:
        key = self._keyed_hash(text)
        if key in self._known:
            self._known.move_to_end(key)
            self._count("known")
            return self._known[key]
        call = self._under_way.get(key)
        shared = call is not None
        if call is None:
            call = self._under_way[key] = asyncio.create_task(self._answered(key, text), name="classifier")
            call.add_done_callback(lambda _: self._under_way.pop(key))
        try:
            async with asyncio.timeout(self.rule.timeout_s):
                label, outcome = await asyncio.shield(call)
        except TimeoutError:
            label, outcome = None, "late"
        self._count("known" if shared and outcome in {"labelled", "no_label"} else outcome)
        return label

    async def _answered(self, key: str, text: str) -> _Labelled:
        until_s = monotonic() + self.rule.timeout_s
        try:
            async with self._places:
                found = await self._ask(text, until_s)
        except BanditdError as error:  # the account could not be read
            logger.warning("classifier.failed", extra={"policy": self.rule.policy, "code": error.code})
            return _Labelled(None, "failed")
        except Exception:
            # No error here may refuse a query.
            logger.exception("classifier.crashed", extra={"policy": self.rule.policy})
            return _Labelled(None, "failed")
        if found.outcome in {"labelled", "no_label"} and self.rule.cache:
            self._known[key] = found.label
            while len(self._known) > self.rule.cache:
                self._known.popitem(last=False)
        return found

    async def _ask(self, text: str, until_s: float) -> _Labelled:
        """Make one call, if there is enough time and money and the upstream's breaker is closed."""
        rule, now_us = self.rule, self._clock.now_us()
        if monotonic() < self._spent_until_s:
            return _Labelled(None, "spent")
        if self._breakers.exclusions(now_us):
            return _Labelled(None, "resting")
        content = rule.prompt.replace(QUERY, text)
        reserved = cost_of(rule.price, len(content), None, max(map(len, rule.labels)))
        left_s = until_s - monotonic()
        if left_s <= 0.0:
            return _Labelled(None, "late")
        if not await self._store.reserve(rule.policy, reserved.cost_usd, rule.usd_per_day, now_us):
            self._spent_until_s = monotonic() + SPENT_PAUSE_S
            logger.warning("classifier.spent", extra={"policy": rule.policy, "usd_per_day": rule.usd_per_day})
            return _Labelled(None, "spent")
        self._breakers.drawn(_CALLS, now_us)
        cost = reserved
        try:
            reply = await self._upstreams.complete(self._call(content, left_s))
            cost = cost_of(rule.price, len(content), reply.usage, reply.characters)
        except UpstreamError as error:
            cost = self._cost_of_failure(error, reserved, len(content))
            logger.info("classifier.call_failed", extra={"policy": rule.policy, "code": error.code})
            if not error.local:
                self._breakers.count(
                    _CALLS, error.error_class, now_us=self._clock.now_us(), retry_after_s=error.retry_after_s
                )
            return _Labelled(None, error.error_class)
        finally:
            self._book(cost, reserved, now_us)
        self._breakers.count(_CALLS, None, now_us=self._clock.now_us())
        return self._read(reply)

    def _call(self, content: str, left_s: float) -> UpstreamCall:
        rule = self.rule
        return UpstreamCall(
            upstream=rule.upstream,
            surface="chat",
            model=rule.model,
            body={"model": rule.model, "messages": [{"role": "user", "content": content}]},
            params=rule.params,
            deadline_s=left_s,
        )

    def _read(self, reply: UpstreamReply) -> _Labelled:
        label = None
        if len(reply.body) <= MOST_REPLY_BYTES:
            text = answer_text("chat", reply.body, stream=False, most_chars=_MOST_LABEL_CHARS)
            label = self.rule.label_in(behind_thoughts(text))
        return _Labelled(label, "no_label" if label is None else "labelled")

    def _cost_of_failure(self, error: UpstreamError, reserved: JudgeCost, sent: int) -> JudgeCost:
        """The cost of a failed call. A call that timed out was probably served, so its full reserve is charged."""
        if error.usage is not None:
            return cost_of(self.rule.price, sent, error.usage, 0)
        late = error.error_class == "timeout" and not error.local and error.code != "timeout_connect"
        return reserved if late else JudgeCost(calls=1)

    def _book(self, cost: JudgeCost, reserved: JudgeCost, reserved_at_us: int) -> None:
        """Charge what the call cost, in place of its reserve, in the background."""
        self._metrics.spend.labels(self.rule.policy).inc(cost.cost_usd)
        beyond = replace(cost, calls=0, cost_usd=cost.cost_usd - reserved.cost_usd)
        task = asyncio.create_task(self._settle(beyond, reserved_at_us), name="classifier account")
        self._booking.add(task)
        task.add_done_callback(self._booking.discard)

    async def _settle(self, beyond: JudgeCost, reserved_at_us: int) -> None:
        try:
            await patiently(lambda: self._store.settle(self.rule.policy, beyond, reserved_at_us))
        except BanditdError as error:
            logger.warning("classifier.not_settled", extra={"policy": self.rule.policy, "code": error.code})

    def _count(self, outcome: str) -> None:
        self._metrics.queries.labels(self.rule.policy, outcome).inc()
