"""Keep a share of the baseline's quality at the least cost: which price to play, solved again off the request path.

The baseline b is the arm that would answer without a router. ``keep`` says that the mean reward must stay at least
keep x the baseline's. With the present posterior, on the contexts x_t of the window, the policy at a price l (reward
per dollar) plays a_t = argmax mu(x_t, a) - l c_t(a). Against the baseline it may lose up to

    loss(l) = mean_t [mu(x_t, b) - mu(x_t, a_t)] - bias f(l) + excess + z sd(l)

sd is exact under the model, since the loss is linear in the coefficients of all arms. f is the share of the window
with a_t != b, bias <= 0 how much less than predicted the other arms' answers earned recently, and excess the cost of
exploring. Allowed is (1 - keep) of the baseline's mean, plus an advance while the reserve lasts (``reserve.py``); the
sum is the slack. A share

    g(l) = min(1, slack / loss(l))

of the traffic may leave b, and the price that saves most, g(l) mean_t [c_t(b) - c_t(a_t)], is played: p = g policy(l)
+ (1 - g) onehot(b).

Above a steepest price predictions are not trusted: there the best of many noisy means is chosen, which is overrated.
But since rewards are in [0, 1], a share slack / mean_t mu(x_t, b) of the traffic may leave b whatever the others are
worth. If nothing else seems to save, that share tries cheaper arms at such prices; otherwise a few bad first answers
would end all learning.

This is the dual of a budget's pacer with quality in place of money (Agrawal and Devanur 2016). The margin is
conservative in the sense of Kazerouni et al. 2017, but for a mean, not for every step, which would save nothing.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from banditd.bandit.posterior.posterior import Posterior
from banditd.core.types import BoolArray, FloatArray
from banditd.deciding.promise_prices import Candidates
from banditd.deciding.promise_window import WINDOW, Window
from banditd.deciding.reserve import LEAST, Reserve
from banditd.ope.reference import RatedDecision

RESOLVE_EVERY: Final = 20  # decisions, while rewards come or the window still fills ...
RESOLVE_STALE: Final = 100  # ... and otherwise: then the terms change only as the window turns over
LEAST_SHARE: Final = 0.01  # share of the traffic that may always leave the baseline, so that something is learned
CAUTION: Final = 0.6  # standard errors of the predicted loss that are held back ...
EARLY_REWARDS: Final = 30.0  # ... times sqrt(1 + this / rewards off the baseline): a young model errs more
STEEPEST: Final = 10.0  # highest price: the baseline's mean cost may weigh this many allowed losses
STEEPEST_TRIAL: Final = 1.0  # the same, in rewards, for the share that may leave in any case
MEMORY: Final = 1000.0  # rated decisions over which the bias is averaged
BIAS_PRIOR: Final = 0.06  # standard deviation of the bias before anything is seen
DOUBTED_PRIOR: Final = 0.3  # the same after the predictions have been proved wrong ...
DOUBT: Final = 300  # rated decisions after an alarm in which no more than 1 - keep leaves the baseline ...
TRUST_DOUBLES: Final = 100.0  # ... after which what may leave it doubles every so many
DISTRUST: Final = 1500  # ... for so many rated decisions: predictions that were wrong learn slowly
SILENCE: Final = 300  # decisions without any reward after which predictions are no longer trusted ...
UNLIKELY: Final = 8.0  # ... and not before so many rewards would have come: by chance that is one time in 3,000
COLD: Final = 100  # first decisions, in which a lack of rewards means nothing
THIN: Final = 300  # rated decisions off the baseline that are needed before its reference share may taper
TAPERED: Final = 0.1  # part of the reference share that remains once the difference is known ...
TAPERED_LEAST: Final = 0.005  # ... and at least this much of the traffic

State = Literal["learning", "keeping", "nothing_to_save", "no_rewards", "broken", "baseline_away"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the promise asks of the next decisions.

    price_per_usd : what a dollar of predicted cost takes off the reward.
    share : share of the traffic that may leave the baseline, in [0, 1].
    loss, error : predicted mean loss of the policy at that price, and its standard error.
    slack : mean loss that is allowed now.
    saves_usd : expected per decision.
    baseline_reward : predicted mean.
    """

    price_per_usd: float = 0.0
    share: float = 0.0
    loss: float = 0.0
    error: float = 0.0
    slack: float = 0.0
    saves_usd: float = 0.0
    baseline_reward: float = 0.0
    state: State = "learning"


class Misses:
    """Reward minus prediction of answers that leave the baseline: doubly robust, fading, shrunk towards 0.

    An arm that the policy leaves the baseline for looks better than it is. Half of that error is the baseline's:
    where it is left, its own prediction is too low.

    away : faded, expected number of rated decisions that left the baseline: how much is known of the others.
    """

    __slots__ = ("_baseline_square", "_baseline_total", "_distrust", "_square", "_total", "away", "rewards")

    def __init__(self) -> None:
        self.rewards = self._distrust = 0
        self.away = self._total = self._square = self._baseline_total = self._baseline_square = 0.0

    def add(self, one: RatedDecision) -> None:
        """Add a rated decision; call it oldest first."""
        self.rewards += 1
        self._distrust -= self._distrust > 0
        residual = one.reward - one.predicted
        p = one.baseline_probability
        # The error of what was played minus that of the baseline; 0 if only the baseline could answer.
        missed = residual * (1.0 - 1.0 / max(p, 1e-6)) if one.is_baseline else residual
        of_baseline = -missed if one.is_baseline else 0.0
        fade = 1.0 - 1.0 / MEMORY
        self.away = fade * self.away + 1.0 - p
        self._total = fade * self._total + missed
        self._square = fade * self._square + missed * missed
        self._baseline_total = fade * self._baseline_total + of_baseline
        self._baseline_square = fade * self._baseline_square + of_baseline * of_baseline

    def forget(self) -> None:
        """Start again after the predictions have just been proved wrong, with a wider prior for a while."""
        self._distrust = DISTRUST
        self.away = self._total = self._square = self._baseline_total = self._baseline_square = 0.0

    @property
    def bias(self) -> float:
        """Posterior mean of the error, at most 0: that of the others minus the baseline's.

        Arms that earn more than predicted are no reason to leave the baseline: the learner will find that out.
        """
        others = self._total + self._baseline_total
        square = max(self._square - self._baseline_square, 0.0)
        of_others = self._shrunk(others, square, DOUBTED_PRIOR if self._distrust else BIAS_PRIOR)
        return min(of_others - self.baseline_bias, 0.0)

    @property
    def baseline_bias(self) -> float:
        """Posterior mean of the baseline's error: how much more than predicted it would earn where it is left."""
        return self._shrunk(self._baseline_total, self._baseline_square, BIAS_PRIOR)

    def _shrunk(self, total: float, square: float, prior: float) -> float:
        """Posterior mean under a normal prior around 0 with this standard deviation."""
        if self.away < 5.0:
            return 0.0
        error2 = max(square, 1e-3) / self.away**2
        return total / self.away * prior**2 / (prior**2 + error2)


class Promise:
    """One promise over K arms in a fixed order: it records decisions and solves for ``terms``."""

    def __init__(self, *, n_arms: int, n_features: int, baseline: int, keep: float) -> None:
        self.baseline, self.keep = baseline, keep
        self.terms = Terms()
        self.decisions = self._newest = 0  # all, and those of the last call
        self.window = Window(n_arms, n_features)

    def observe(
        self,
        x: FloatArray,
        *,
        cost_usd: FloatArray,
        eligible: BoolArray,
        own: FloatArray,
    ) -> None:
        """Record decisions, oldest first.

        Parameters
        ----------
        x : float64 (n, d). cost_usd : predicted, (n, K). eligible : bool (n, K).
        own : the policy's vectors before the baseline was blended in, (n, K).
        """
        self.window.add(x, cost_usd, eligible, own)
        self._newest = len(x)
        self.decisions += self._newest
        if self.terms.state == "baseline_away" and eligible[:, self.baseline].any():
            self._go_on()

    def baseline_is_back(self) -> None:
        """The baseline may answer again: terms that held without it end now, rather than with the next solution."""
        self.window.allow(self.baseline)
        self._go_on()

    def _go_on(self) -> None:
        if self.terms.state == "baseline_away":
            self.terms = replace(self.terms, price_per_usd=0.0, share=LEAST_SHARE, state="learning")

    def frozen(self) -> Promise:
        """A copy that ``observe`` on this one does not change."""
        still = copy.copy(self)
        still.window = self.window.copied()
        return still

    def due(self, *, news: bool) -> bool:
        """Whether enough decisions have passed to solve for new terms. news : rewards came since the last time."""
        every = RESOLVE_EVERY if news or self.window.size < WINDOW else RESOLVE_STALE
        return self.decisions <= RESOLVE_EVERY or self.decisions % every < self._newest

    def solve(
        self,
        posterior: Posterior,
        misses: Misses,
        *,
        silence: int,
        reserve: Reserve | None = None,
        rated_share: float = 1.0,
        since_alarm: int | None = None,
    ) -> Terms:
        """New terms from the present posterior: O(prices x (n K + K d^2)).

        Parameters
        ----------
        silence : decisions since the last reward.
        reserve : what has been lost in advance; None: nothing yet.
        rated_share : share of the decisions that are rated, in (0, 1].
        since_alarm : rated decisions since the shortfall test's last alarm, or None.
        """
        if self.window.size == 0:
            return self.terms
        candidates = Candidates(self.window, posterior, self.baseline)
        allowed = (1.0 - self.keep) * candidates.baseline_reward
        slack = (reserve or Reserve()).slack(candidates.baseline_reward, keep=self.keep, rated_share=rated_share)
        caution = CAUTION * math.sqrt(1.0 + EARLY_REWARDS / max(misses.away, 1.0))
        bias = misses.bias
        excess = max(candidates.exploration_loss(self.terms.price_per_usd), 0.0) if self.decisions > 1 else 0.0
        steepest = max(STEEPEST * allowed, 0.02)
        away = not self.window.was_eligible(self.baseline)
        best = Terms(
            share=1.0 if away else LEAST_SHARE,
            slack=slack,
            saves_usd=-math.inf if away else 0.0,
            baseline_reward=candidates.baseline_reward,
            state="baseline_away" if away else "nothing_to_save",
        )
        least = max(LEAST * (1.0 - self.keep), LEAST_SHARE)
        safe = max(slack / max(candidates.baseline_reward, 1e-9), least)
        prices, arms = candidates.ladder(max(steepest, STEEPEST_TRIAL))
        for price, (gap, error, off, saving_usd) in zip(prices, candidates.outcomes(arms), strict=True):
            loss = gap - bias * off + excess + caution * error
            share = least if slack <= 0.0 else 1.0 if loss <= slack else max(slack / loss, least)
            trial = price * candidates.baseline_usd > steepest
            if trial:
                share = min(share, safe)
            if away and (trial or (share < 1.0 and price > 0.0)):
                continue  # without the baseline to fall back on: the highest price that holds, else the best one
            share = 1.0 if away else share
            saves = share * saving_usd
            if saves > best.saves_usd + 1e-12:
                state: State = "baseline_away" if away else "nothing_to_save" if trial else "keeping"
                best = Terms(price, share, gap, error, slack, saves, candidates.baseline_reward, state)
        if not away:
            silent = silence > max(SILENCE, UNLIKELY / rated_share)
            best = self._held_back(best, misses, silent=silent, since_alarm=since_alarm)
            if best.state == "nothing_to_save" and misses.rewards < EARLY_REWARDS and candidates.any_cheaper():
                best = replace(best, state="learning")  # not yet known to be good enough
        self.terms = best
        return self.terms

    def _held_back(self, best: Terms, misses: Misses, *, silent: bool, since_alarm: int | None) -> Terms:
        """The terms with a smaller share for the policy, if its predictions cannot be trusted."""
        state = best.state
        if (misses.rewards == 0 and self.decisions >= COLD) or silent:
            state = "no_rewards"
        elif since_alarm is not None and since_alarm < DOUBT:
            state = "broken"
        elif misses.rewards < EARLY_REWARDS and state == "keeping":
            state = "learning"
        calm = math.inf if since_alarm is None else max((since_alarm - DOUBT) / TRUST_DOUBLES, 0.0)
        trusted = 2.0 ** min(calm, 10.0)
        share = min(best.share, (1.0 - self.keep) * (1.0 if state in {"no_rewards", "broken"} else trusted))
        return replace(best, share=max(share, LEAST_SHARE), state=state)


def reference_share(configured: float, *, precise: bool) -> float:
    """Least share of the baseline, regardless of cost, that the comparison needs.

    configured : in [0, 1). precise : whether the difference is known as precisely as required.
    """
    return min(configured, max(configured * TAPERED, TAPERED_LEAST)) if precise else configured


def blended_share(terms: Terms, reference: float) -> float:
    """Weight of the policy's own vector in the one that is played, in [0, 1]."""
    return min(terms.share, 1.0 - reference)
