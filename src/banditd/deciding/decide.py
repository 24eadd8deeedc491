"""Decides many queries of one policy at once: price, masks, admission, floors, probabilities, draw.

The only place where decisions are made. Routing, batches, replay and the dashboard call ``decide``; none of them
decides anything before or after it. Pure: no clock, no I/O, no counters; accounts of budgets are only read.

A batch is decided as its queries would be one by one. If one decision must affect the next (a budget's charge, a
session's first arm, a traffic cap), the caller has to call again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from banditd.bandit.policies.base import Scores
from banditd.core.contexts import Contexts
from banditd.core.errors import BanditdError
from banditd.core.types import BoolArray, Context, FloatArray, IntArray, Query
from banditd.deciding.account import Account
from banditd.deciding.draw import Draw, draw_arms, held_arms, least_probabilities
from banditd.deciding.eligible import Eligible, eligible_arms
from banditd.deciding.money import Admission, admit, pays_for_all, terms_of
from banditd.deciding.objectives import ResourcePrices, cost_weight_of
from banditd.deciding.pledge import DEARER, Pledge, Pledges, blended, shares, without_dearer
from banditd.deciding.rollout import Rollout
from banditd.deciding.view import RouteView


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """A policy at one moment.

    exploration_floor : of all arms together, in [0, 1). cost_weight : used if the query has none.
    price_per_usd : least utility cost of a dollar, before budgets ask for more.
    soft : arm -> reason why a breaker or cap excludes it; ignored if no other arm is left.
    """

    view: RouteView
    now_us: int
    exploration_floor: float
    cost_weight: float = 0.0
    price_per_usd: float = 0.0
    resources: ResourcePrices = field(default_factory=ResourcePrices)
    soft: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Case:
    """A query with everything that was looked up for it: its session's arm, its accounts, its promise.

    rollout : set if the policy decides only a part of the traffic.
    session_arm : the arm that the query must keep. cached_arm : has ``cached_tokens`` of the input in its prompt
    cache.
    prospects : float64 (n_arms,), utility that going on after an arm's answer is expected to add; None if the first
    answer is final.
    call_price : float64 (n_arms,), what traffic caps take off an arm's utility per call; None without caps.
    """

    query: Query
    context: Context
    input_tokens: float
    session_arm: str | None = None
    accounts: tuple[Account, ...] = ()
    pledge: Pledge | None = None
    rollout: Rollout | None = None
    cached_arm: str | None = None
    cached_tokens: float = 0.0
    prospects: FloatArray | None = None
    call_price: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Cost of every arm and the utility it takes away: float64 (n, n_arms); cost_weight (n, 1).

    cache_loss_usd : dollars lost by leaving an arm that has the prompt cached; part of ``penalty``, not of
    ``cost_usd``; None if no query has one.
    """

    output_tokens: FloatArray
    cost_usd: FloatArray
    cost_weight: FloatArray
    penalty: FloatArray
    cache_loss_usd: FloatArray | None = None

    @property
    def whole_usd(self) -> FloatArray:
        """Cost plus cache loss: what "least cost" minimises."""
        return self.cost_usd if self.cache_loss_usd is None else self.cost_usd + self.cache_loss_usd

    def take(self, rows: IntArray) -> Priced:
        loss = None if self.cache_loss_usd is None else self.cache_loss_usd[rows]
        return Priced(self.output_tokens[rows], self.cost_usd[rows], self.cost_weight[rows], self.penalty[rows], loss)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """The result of a batch.

    refused : index of a query -> its error. stopped : used-up budgets that were met, and what was done.
    rows : intp (n,), indices of all other queries, in order; everything else is aligned with them and the view's
    arms.
    x : float64 (n, d), the contexts. allowed : bool (n, n_arms), the arms that ``scores`` covers. eligible : the same
    before the promise and budgets removed arms.
    exclusions : by query, arm -> reason, including those of budgets and the quality floor.
    scores : the policy's own. own_share : float64 (n,), weight of the policy's own vector in the one drawn from;
    below 1 under a promise, the rest is the baseline's.
    """

    refused: Mapping[int, BanditdError]
    stopped: Sequence[tuple[str, str]]
    rows: IntArray
    x: FloatArray
    priced: Priced
    allowed: BoolArray
    eligible: BoolArray
    exclusions: Sequence[Mapping[str, str]]
    admissions: Sequence[Admission]
    scores: Scores
    own_share: FloatArray
    draw: Draw


def decide(situation: Situation, cases: Sequence[Case], uniforms: FloatArray) -> Decided:
    """Decide for every query which arm answers.

    Parameters
    ----------
    cases : at least one. uniforms : float64 (len(cases),), in [0, 1); each decides its own query only.
    """
    view, queries = situation.view, [case.query for case in cases]
    contexts = Contexts.of([case.context for case in cases])
    amounts = [(case.input_tokens, *_money_of(situation, case)) for case in cases]
    tokens, weight, price = np.array(amounts, dtype=np.float64).T[:, :, None]
    priced = _price(situation, cases, contexts, tokens, weight, price)
    waits = any(query.max_latency_ms is not None for query in queries)
    latency_ms = view.expected_latency_ms(contexts.x) if waits else None
    eligible = eligible_arms(
        view, queries, cost_usd=priced.cost_usd, latency_ms=latency_ms, input_tokens=tokens, soft=situation.soft
    )
    refused = dict(eligible.refused)
    pledges = Pledges.of([case.pledge for case in cases])
    wanted = without_dearer(pledges, eligible.arms, priced.cost_usd)
    allowed, admissions = _admit(situation, cases, priced, wanted, refused)
    stopped = [stop for admission in admissions for stop in admission.stopped]
    rows = np.array([i for i in range(len(cases)) if i not in refused], dtype=np.intp)
    if rows.size < len(cases):
        cases, queries, contexts = [cases[i] for i in rows], [queries[i] for i in rows], contexts.take(rows)
        priced, uniforms, allowed = priced.take(rows), uniforms[rows], allowed[rows]
        admissions = [admissions[i] for i in rows]
        if not rows.size:
            return _nothing(refused, stopped, priced)
        pledges = Pledges.of([case.pledge for case in cases])
    floor = situation.exploration_floor
    floors = least_probabilities(view, allowed, priced.cost_usd, [case.accounts for case in cases], floor)
    least = np.where(allowed, view.min_share, 0.0) if np.count_nonzero(view.min_share) else None
    scores = view.snapshot.scores(contexts, penalty=priced.penalty, allowed=allowed, floors=floors, least=least)
    own_share = shares(pledges, allowed, price[rows, 0])
    played = Scores(scores.mean, scores.deviation, blended(scores.probability, pledges, own_share, least))
    held = held_arms(view, [_kept(case) for case in cases], allowed)
    rollouts = [case.rollout for case in cases]
    draw = draw_arms(queries, held, played, allowed, priced.whole_usd, priced.penalty, floor, uniforms, rollouts)
    _baseline_is_no_trial(draw, pledges, own_share)
    listed = None if draw.arms is allowed else draw.arms  # a quality floor has excluded arms
    exclusions = _exclusions(view, eligible, None if wanted is eligible.arms else wanted, rows, admissions, listed)
    return Decided(
        refused=refused,
        stopped=stopped,
        rows=rows,
        x=contexts.x,
        priced=priced,
        allowed=allowed,
        eligible=eligible.arms[rows],
        exclusions=exclusions,
        admissions=admissions,
        scores=scores,
        own_share=own_share,
        draw=draw,
    )


def _baseline_is_no_trial(draw: Draw, pledges: Pledges | None, own_share: FloatArray) -> None:
    """An answer of the baseline that the promise, or the rollout's side, asked for does not count as exploration."""
    if pledges is not None:
        rows = pledges.rows
        draw.explored[rows] &= (own_share[rows] >= 1.0) | (draw.index[rows] != pledges.baseline)


def _kept(case: Case) -> str | None:
    """The arm that is fixed without a draw: the pinned query's only candidate, or the session's arm."""
    query = case.query
    return query.candidates[0] if query.pinned and query.candidates else case.session_arm


def _price(
    situation: Situation,
    cases: Sequence[Case],
    contexts: Contexts,
    tokens: FloatArray,
    weight: FloatArray,
    price: FloatArray,
) -> Priced:
    """Cost of every arm and the utility it takes away. tokens, weight, price : (n, 1), one per query."""
    view = situation.view
    output_tokens = view.expected_output_tokens(contexts.x)
    named = [i for i, case in enumerate(cases) if case.query.expected_output_tokens is not None]
    if named:
        output_tokens = output_tokens.copy()
        output_tokens[named] = [[cases[i].query.expected_output_tokens] for i in named]
    cost_usd = view.cost_usd(tokens, output_tokens)
    loss_usd = _cache_loss_usd(view, cases)
    spent_usd = cost_usd if loss_usd is None else cost_usd + loss_usd
    penalty = view.penalty(
        spent_usd, tokens, output_tokens, weight=weight, price_per_usd=price, resources=situation.resources
    )
    for row, case in enumerate(cases):
        if case.prospects is not None:
            penalty[row] -= case.prospects
        if case.call_price is not None:
            penalty[row] += case.call_price
    return Priced(output_tokens, cost_usd, weight, penalty, loss_usd)


def _cache_loss_usd(view: RouteView, cases: Sequence[Case]) -> FloatArray | None:
    """What a query saves by staying with the arm that has its prompt cached, charged as a loss to all other arms."""
    loss = None
    for row, case in enumerate(cases):
        index = -1 if case.cached_arm is None else view.index.get(case.cached_arm, -1)
        saving_usd = view.usd_saved_per_cached_token[index] * case.cached_tokens if index >= 0 else 0.0
        if saving_usd > 0.0:
            loss = np.zeros((len(cases), len(view.arms))) if loss is None else loss
            loss[row] = saving_usd
            loss[row, index] = 0.0
    return loss


def _money_of(situation: Situation, case: Case) -> tuple[float, float]:
    """The query's cost weight, and the least utility cost of a dollar: the highest price that anything asks for."""
    prices = [situation.price_per_usd, *(account.pacer.price_per_usd for account in case.accounts)]
    if case.pledge is not None:
        prices.append(case.pledge.price_per_usd)
    return cost_weight_of(case.query, situation.cost_weight), max(prices)


def _admit(
    situation: Situation,
    cases: Sequence[Case],
    priced: Priced,
    eligible: BoolArray,
    refused: dict[int, BanditdError],
) -> tuple[BoolArray, list[Admission]]:
    """The eligible arms that budgets can pay for, together and by query; adds rejected queries to ``refused``."""
    view = situation.view
    if not any(case.accounts for case in cases):
        return eligible, [Admission(arms) for arms in eligible]
    spread_usd = view.cost_spread_usd(priced.output_tokens)
    terms = terms_of([case.accounts for case in cases], eligible, priced.cost_usd, spread_usd)
    found = []
    for i, case in enumerate(cases):
        if i in refused or not case.accounts:
            found.append(Admission(eligible[i]))
            continue
        if pays_for_all(case.accounts, terms[i]):
            found.append(Admission(eligible[i], terms=terms[i]))
            continue
        found.append(
            admit(case.accounts, eligible[i], priced.cost_usd[i], spread_usd[i], view.snapshot.arms, situation.now_us)
        )
        error = found[-1].refused
        if error is not None:
            refused[i] = error
    return np.array([admission.arms for admission in found]), found


def _exclusions(
    view: RouteView,
    eligible: Eligible,
    wanted: BoolArray | None,
    rows: IntArray,
    admissions: Sequence[Admission],
    listed: BoolArray | None,
) -> list[Mapping[str, str]]:
    """Exclusions of each query in ``rows``.

    ``wanted`` covers all queries, ``listed`` only those; None: nothing excluded.
    """
    return [
        _all_exclusions(
            view,
            eligible.exclusions[i],
            None if wanted is None else wanted[i],
            admission,
            admission.arms if listed is None else listed[row],
        )
        for row, (i, admission) in enumerate(zip(rows.tolist(), admissions, strict=True))
    ]


def _all_exclusions(
    view: RouteView, before: Mapping[str, str], wanted: BoolArray | None, admission: Admission, listed: BoolArray
) -> Mapping[str, str]:
    """Arm -> reason why it could not answer: from ``before``, then the promise, the budgets and the quality floor."""
    if not admission.excluded and listed is admission.arms and wanted is None:
        return before
    names = view.snapshot.arms
    found = dict(before)
    for i in () if wanted is None else (~wanted).nonzero()[0].tolist():
        found.setdefault(names[i], DEARER)
    for i, name in admission.excluded.items():
        found[names[i]] = f"budget:{name}"
    for i in () if listed is admission.arms else (admission.arms & ~listed).nonzero()[0].tolist():
        found[names[i]] = "quality_floor"
    return found


def _nothing(refused: Mapping[int, BanditdError], stopped: Sequence[tuple[str, str]], priced: Priced) -> Decided:
    """The result when every query was refused."""
    none, empty, index = np.zeros(priced.cost_usd.shape), np.zeros(0), np.zeros(0, dtype=np.intp)
    no_arms = np.zeros(priced.cost_usd.shape, dtype=bool)
    draw = Draw(no_arms, none, index, empty, empty, np.zeros(0, dtype=bool), [])
    return Decided(
        refused=refused,
        stopped=stopped,
        rows=index,
        x=none,
        priced=priced,
        allowed=no_arms,
        eligible=no_arms,
        exclusions=[],
        admissions=[],
        scores=Scores(none, none, none),
        own_share=empty,
        draw=draw,
    )
