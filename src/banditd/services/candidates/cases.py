"""What a candidate would answer on cases with known scores, with what the policy knows now."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from banditd.bandit.snapshot import Snapshot
from banditd.bandit.state import PolicyState
from banditd.core.errors import InvalidInputError
from banditd.core.evaluation import INCUMBENT, Finding, Phase, Question, ScoredCase
from banditd.core.pace import Pace
from banditd.core.types import FloatArray, Query
from banditd.deciding.decide import Case, Situation, decide
from banditd.ope.difference import differing_share
from banditd.ope.means import FEWEST_CASES, Paired, paired
from banditd.ports import Encoder, RecentOutcomes
from banditd.services.candidates.decided_again import Rule
from banditd.services.candidates.rebinding import rebound, restating, shares_posterior
from banditd.services.candidates.verdict import RELEASE, compared_words, percent, points, than_words
from banditd.services.policy import PolicyRuntime
from banditd.services.promising.book import PromiseBook
from banditd.services.promising.candidate import CandidatePromise
from banditd.services.promising.keeping import OUTCOMES_USED

_BLOCK: Final = 8
_NO_RELEASE: Final = ""


class CasePlay:
    """Both rules, played on cases. Nothing about them is stored."""

    def __init__(
        self,
        runtime: PolicyRuntime,
        book: PromiseBook,
        encoder: Encoder,
        candidate: Rule,
        recent: RecentOutcomes,
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._encoder = encoder
        self._candidate = candidate
        self._recent = recent
        self._promise = CandidatePromise(runtime, book)
        self._incumbent = Rule(config=runtime.config, arms=runtime.arms)
        self._names = tuple(arm.arm for arm in runtime.arms)

    async def find(self, question: Question, cases: Sequence[ScoredCase]) -> Finding:
        """The finding. Raises InvalidInputError for cases that are too few or lack scores."""
        score = self._scores(question, cases)
        pace = Pace()
        snapshots = await self._snapshots(pace)
        await self._promising(snapshots[1], cases)
        vectors = []
        for start in range(0, len(cases), _BLOCK):
            some = cases[start : start + _BLOCK]
            prepared = [await self._prepared(one) for one in some]
            vectors.append(self._decided(question, snapshots, prepared))
            await pace.step()
        wanted, other, cost_usd = (np.concatenate(parts) for parts in zip(*vectors, strict=True))
        known = np.where(np.isnan(score), 0.0, score)  # arms without a score were not drawn
        differing = differing_share(wanted - other)
        found = paired(((wanted - other) * known).sum(1), differing)
        phase, reason, settles = _judged(question, found, len(cases), float(differing.mean()))
        figures = {"differs": float(differing.mean()), **self._figures(found, wanted, other, known, cost_usd)}
        return Finding(phase=phase, reason=reason, settles=settles, figures=figures)

    def _scores(self, question: Question, cases: Sequence[ScoredCase]) -> FloatArray:
        """float64 (n, K), NaN where there is no score."""
        if len(cases) < FEWEST_CASES:
            raise InvalidInputError(f"{len(cases)} cases are too few; give at least {FEWEST_CASES}", field="/cases")
        score = np.array([[one.scores.get(arm, math.nan) for arm in self._names] for one in cases])
        enabled = [arm.enabled for arm in self._runtime.arms]
        for row, known in enumerate(~np.isnan(score)):
            if not (known & enabled).any():
                raise InvalidInputError(
                    f"case {row} has no score for any of the policy's arms, {', '.join(self._names)}",
                    field=f"/cases/{row}/scores",
                )
            if question.against != INCUMBENT and not known[self._names.index(question.against)]:
                raise InvalidInputError(
                    f"case {row} has no score for {question.against}, with which every case is compared",
                    field=f"/cases/{row}/scores",
                )
        return score

    async def _snapshots(self, pace: Pace) -> tuple[Snapshot, Snapshot]:
        """The present knowledge as a snapshot for the policy and one for the candidate."""
        state, settings, now = self._runtime.learned, self._candidate.config.settings, self._runtime.view.snapshot
        if shares_posterior(self._runtime.config.settings, settings):
            return now, rebound(now, state, settings)
        other: list[PolicyState] = []
        await pace.through(_collected(restating(state, settings), other))
        return now, other[0].snapshot()

    async def _promising(self, snapshot: Snapshot, cases: Sequence[ScoredCase]) -> None:
        """Solve the candidate's promise on these cases, with the present knowledge."""
        promise, view = self._promise, self._runtime.view_of(snapshot, self._candidate.arms)
        switches = self._candidate.config.switches
        only_promise = self._candidate.arms == self._runtime.arms and self._candidate.config == replace(
            self._runtime.config, switches=switches
        )
        promise.look = lambda: view
        promise.follow(_NO_RELEASE, switches, only_promise=only_promise)
        promise.restore(view, ())
        baseline = promise.baseline(view)
        if switches.promise is None or baseline is None:
            return
        for keep in {switches.promise.keep_of(one.tags) for one in cases}:
            promise.keeper(keep, view, baseline)
        outcomes = await self._recent.rated(self._runtime.name, OUTCOMES_USED)
        for standing, judge in (await asyncio.to_thread(promise.judges, outcomes)).items():
            keeper = promise.keepers[standing]
            keeper.adopt(judge, news=True)
            keeper.promise.terms = await asyncio.to_thread(keeper.frozen().solve, snapshot.posterior)

    async def _prepared(self, one: ScoredCase) -> Case:
        offered = tuple(arm for arm in self._names if arm in one.scores)
        query = Query(policy=self._runtime.name, text=one.text, tags=one.tags, candidates=offered, dry_run=True)
        described = self._runtime.described(query, await self._encoder.encode(one.text))
        [context] = self._runtime.builder.contexts([described])
        return Case(query=query, context=context, input_tokens=float(self._encoder.count_tokens(one.text)))

    def _decided(
        self, question: Question, snapshots: tuple[Snapshot, Snapshot], cases: list[Case]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The vectors of both rules, and the cost of every arm: float64 (n, K) each."""
        view = self._promise.view
        queries = [case.query for case in cases]
        pledges = self._promise.pledges(queries, view)
        candidate_cases = [replace(case, pledge=pledge) for case, pledge in zip(cases, pledges, strict=True)]
        wanted, cost_usd = self._vectors(self._candidate, snapshots[1], candidate_cases)
        if question.against == INCUMBENT:
            for case, pledge in zip(cases, self._book.pledges(queries, self._runtime.view), strict=True):
                case.pledge = pledge
            other, _ = self._vectors(self._incumbent, snapshots[0], cases)
        else:
            other = np.zeros(wanted.shape)
            other[:, self._names.index(question.against)] = 1.0
        return wanted, other, cost_usd

    def _vectors(self, rule: Rule, snapshot: Snapshot, cases: Sequence[Case]) -> tuple[FloatArray, FloatArray]:
        config = rule.config
        situation = Situation(
            view=self._runtime.view_of(snapshot, rule.arms), now_us=0, exploration_floor=config.settings.floor,
            cost_weight=config.cost_weight, resources=config.resources,
        )  # fmt: skip
        decided = decide(situation, cases, np.zeros(len(cases)))
        probability = np.zeros((len(cases), len(self._names)))
        cost_usd = np.zeros(probability.shape)
        probability[decided.rows], cost_usd[decided.rows] = decided.draw.probability, decided.priced.cost_usd
        return probability, cost_usd

    def _figures(
        self, found: Paired, wanted: FloatArray, other: FloatArray, score: FloatArray, cost_usd: FloatArray
    ) -> Mapping[str, object]:
        n = wanted.shape[0]
        return {
            "rated": n,
            "estimate": found.interval.estimate,
            "interval": [found.interval.low, found.interval.high],
            "half_width": found.half_width,
            "worth": float(n),
            "behind": float(n),
            "uncovered": 0.0,
            "refused": int((wanted.sum(1) == 0.0).sum()),
            "reward": float((wanted * score).sum(1).mean()),
            "other_reward": float((other * score).sum(1).mean()),
            "cost_usd": float((wanted * cost_usd).sum(1).mean()),
            "other_cost_usd": float((other * cost_usd).sum(1).mean()),
            "arms": [
                {"arm": arm, "share": float(share), "other_share": float(other_share)}
                for arm, share, other_share in zip(self._names, wanted.mean(0), other.mean(0), strict=True)
            ],
        }


def _collected(pieces: Generator[None, None, PolicyState], into: list[PolicyState]) -> Iterator[None]:
    """The pieces; what they make goes into a list."""
    into.append((yield from pieces))


def _judged(question: Question, found: Paired, n: int, differs: float) -> tuple[Phase, str, str | None]:
    """(phase, reason, what would settle it)."""
    margin, interval = question.margin, found.interval
    than = than_words(question)
    if differs <= margin:
        return "passed", f"it answers otherwise than {than} in {percent(differs)}, so it cannot lose more", None
    words = f"{compared_words(interval)} than {than}"
    if interval.low >= -margin:
        return "passed", f"{words}; {points(margin)} worse are allowed", None
    if interval.high < -margin:
        return "failed", f"{words}; no more than {points(margin)} worse are allowed", None
    needed = math.ceil(n * (found.half_width / margin) ** 2)
    return (
        "inconclusive",
        f"{words}: {n} cases cannot show a drop of less than {points(found.half_width)}",
        f"about {needed:,} such cases for a margin of {points(margin)}, or {RELEASE}",
    )
