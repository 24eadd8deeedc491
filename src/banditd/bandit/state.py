"""The learner's state of one policy: sums in epochs, hyperparameters, and the cache that makes snapshots.

Mutable and owned by one learner; not thread-safe. Everything in it can be rebuilt from the epoch sums, the
hyperparameters, the arms' priors and the settings' prior. It draws no random numbers, reads no clock and does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from banditd.bandit.changes.arm_changes import ArmChanges, Look, Signal
from banditd.bandit.counts import RewardCounts
from banditd.bandit.policies.base import ArmPrior, PolicySettings
from banditd.bandit.policies.registry import policy_factory
from banditd.bandit.policies.view import PolicyView, cluster_contexts, cluster_sums
from banditd.bandit.posterior.epochs import EpochSums
from banditd.bandit.posterior.evidence import ArmEvidence, TuningTask
from banditd.bandit.posterior.families import FamilyRidge, likenesses, ridge_of
from banditd.bandit.posterior.hyperparameters import CENTRE, Hyperparameters, centres
from banditd.bandit.posterior.prior import Prior, first_scales
from banditd.bandit.posterior.ridge import REFACTOR_AFTER, Evidence, PooledRidge, run_through
from banditd.bandit.posterior.statistics import ArmSums, check_row
from banditd.bandit.snapshot import Snapshot
from banditd.core.errors import ConfigurationError, InvariantError
from banditd.core.types import FeatureSchema, FloatArray


class PolicyState:
    """What one policy has learned. ``version`` grows with every snapshot that differs from the one before.

    Raises ConfigurationError for a prior of another feature schema.
    """

    def __init__(self, *, schema: FeatureSchema, settings: PolicySettings, arms: Sequence[ArmPrior]) -> None:
        self.schema = schema
        self.settings = settings
        self.version = 0
        self._factory = policy_factory(settings)
        self._epochs = EpochSums(schema.n_features, settings.epoch_discount, settings.live_epochs)
        known = {} if settings.prior is None else {arm: sums.n for arm, sums in settings.prior.arms.items()}
        self.arm_changes = ArmChanges(self._epochs, schema.n_features, known)
        self._hyperparameters = first_scales(schema, settings.prior)
        self._counts = RewardCounts()
        self._arms: tuple[ArmPrior, ...] = ()
        self._centres = np.zeros(0)
        self._like: tuple[int | None, ...] = ()
        self._totals: list[ArmSums] = []
        self._index: dict[str, int] = {}
        self._snapshot: Snapshot | None = None
        self._ridge = self._new_ridge()
        self._stale = True  # the cache must be rebuilt from the sums
        self.set_arms(arms)

    # ------------------------------------------------------------ what it is

    @property
    def epoch(self) -> int:
        """The segment that rewards of decisions made now will go to."""
        return self._epochs.epoch

    @property
    def arms(self) -> tuple[ArmPrior, ...]:
        return self._arms

    @property
    def folded(self) -> int:
        """Net number of rewarded decisions."""
        return self._counts.decisions

    @property
    def hyperparameters(self) -> Hyperparameters:
        return self._hyperparameters

    def sums(self, arm: str) -> ArmSums:
        """A copy of an arm's own sums as they count today, without the prior (also of an arm that is gone)."""
        return self._epochs.total(arm)

    def cluster_contexts(self) -> FloatArray:
        """The mean context seen in each cluster, float64 (n_clusters, n_features); bias only where unseen."""
        return cluster_contexts((self._total(arm) for arm in self._known_arms()), self.schema)

    def cluster_sums(self) -> dict[str, FloatArray]:
        """Per arm float64 (2, n_clusters): the weight and the weighted reward that count in each cluster today."""
        found = cluster_sums([self._total(arm.learned_as) for arm in self._arms], self.schema)
        pairs = zip(found.weight[:, :-1], found.reward[:, :-1], strict=True)
        return {arm.arm: np.stack(pair) for arm, pair in zip(self._arms, pairs, strict=True)}

    def to_prior(self, source: str) -> Prior:
        """What is known now, of every arm that ever had a reward, for another policy to start from.

        It includes the prior that this state started with.
        """
        return Prior(
            schema_hash=self.schema.hash,
            arms={arm: self._total(arm) for arm in sorted(self._known_arms())},
            hyperparameters=self.hyperparameters_json(),
            source=source,
        )

    def inverse_error(self) -> float:
        """Largest |A A^-1 - I| of the cached inverses."""
        self._refresh()
        return self._ridge.inverse_error(self._evidence())

    # ------------------------------------------------------------ what changes it

    def set_arms(self, arms: Sequence[ArmPrior]) -> None:
        """Add, remove, re-order. Sums of the others do not move; a removed arm's sums are kept for its return.

        Raises
        ------
        ConfigurationError : the same name twice.
        """
        names = [arm.arm for arm in arms]
        if len(set(names)) != len(names):
            raise ConfigurationError("An arm is listed twice.")
        if tuple(arms) == self._arms:
            return
        self._arms = tuple(arms)
        self._index = {arm.learned_as: i for i, arm in enumerate(arms)}
        # An arm with a quality prior of its own needs no guess from its price or tier.
        guessed = [arm.quality_prior is None and arm.like is None for arm in arms]
        self._centres = centres(
            [arm.cost_usd if guess else None for arm, guess in zip(arms, guessed, strict=True)],
            [arm.quality_tier if guess else None for arm, guess in zip(arms, guessed, strict=True)],
        )
        self._like = likenesses(self._arms)
        for i, other in enumerate(self._like):
            self._centres[i] = self._centres[i if other is None else other]
        self._stale = True
        self._snapshot = None

    def fold(
        self, *, arm: str, epoch: int, x: FloatArray, weight: float, reward: float,
        first: bool = True, served: bool = True,
    ) -> None:  # fmt: skip
        """Add one reward; with a negative weight take an earlier one out. O(d^2).

        Parameters
        ----------
        arm : whose reward it is (``ArmPrior.learned_as``); one that is not, or no longer, here keeps its sums too.
        epoch : the decision's; a newer one than the current advances to it.
        x : float64, shape (n_features,). weight : not 0. reward : in [0, 1].
        first : its decision had no reward before; corrections say nothing about whether the arm has changed.
        served : whether the arm answered that decision. The reward of one that did not teaches alike, but is no
            rewarded decision more: evidence does not age by it, and no change is looked for in what was not drawn.

        Raises
        ------
        InvalidInputError : wrong shape, not finite, weight 0, reward outside [0, 1].
        """
        check_row(x, self.schema.n_features, weight, reward)
        if epoch > self._epochs.epoch:
            self.advance_to(epoch)
        signal = self._look(arm, epoch, x, weight, reward) if first and served and weight > 0 else None
        scale = self._epochs.fold(arm, epoch, x, weight, reward)
        index = self._index.get(arm)
        if index is not None and not self._stale:
            self._totals[index].add(x, weight, reward, scale=scale)
            if weight > 0:
                self._ridge.fold(index, x, weight * scale, reward)
            else:
                self._ridge.rebuild_arm(index, self._evidence_of(index))
        self._snapshot = None
        self._counts.add(1 if weight > 0 else -1, served=served)
        if signal is not None:
            self._act(signal)
        due = self.folded // self.settings.epoch_decisions
        if due > self._epochs.epoch:
            self.advance_to(due)

    def advance(self) -> None:
        """Begin the next epoch now, before its number of rewards is reached."""
        self.advance_to(self.epoch + 1)

    def advance_to(self, epoch: int) -> None:
        """Begin ``epoch`` if it is newer; evidence ages, old segments merge into the base."""
        if epoch <= self._epochs.epoch:
            return
        self._epochs.advance(epoch)
        if self._epochs.discount < 1.0:
            self._stale = True
        self._snapshot = None

    def snapshot(self, version: int | None = None) -> Snapshot:
        """The state as an immutable value; the same object while nothing has changed.

        ``version`` names the snapshot (a learner passes that of its commit); otherwise versions count up.
        """
        if self._snapshot is None or (version is not None and version != self._snapshot.version):
            self._refresh()
            self.version = self.version + 1 if version is None else version
            self._snapshot = self._make_snapshot()
        return self._snapshot

    def refreshing(self) -> Iterator[None]:
        """Bring the posterior up to date, in pieces of one arm each; otherwise that happens at the next use.

        Nothing may change the state in between. Calling this is optional, as is running it to its end.
        """
        if not self._stale and self._ridge.updates < REFACTOR_AFTER:
            yield from self._ridge.settling()
            return
        if self._stale:
            totals = []
            for arm in self._arms:
                totals.append(self._total(arm.learned_as))
                yield
            if any(total.n_features != self.schema.n_features for total in totals):
                raise InvariantError("Stored sums belong to another feature schema.")
            self._totals, self._ridge = totals, self._new_ridge()
        yield from self._ridge.rebuilding(self._evidence())
        self._stale = False

    # ------------------------------------------------------------ tuning

    def tune_due(self, *, requested: bool = False) -> bool:
        """Whether enough rewards have come since the last fit; if one is ``requested``, whether there are any."""
        return self.settings.tune and bool(self._arms) and self._counts.fit_due(requested=requested)

    def tuning(self) -> TuningTask:
        """A fit of the hyperparameters on a copy of the sums, to be run anywhere, while folding goes on."""
        self._counts.begin_fit()
        self._refresh()
        arms = tuple(
            ArmEvidence(
                arm=prior.learned_as,
                sums=total.copy(),
                centre=float(centre),
                prior_reward=CENTRE if prior.quality_prior is None else prior.quality_prior,
                prior_worth=self._prior_worth(prior),
            )
            for prior, total, centre in zip(self._arms, self._totals, self._centres, strict=True)
        )
        return TuningTask(schema=self.schema, arms=arms, current=self._hyperparameters, pooled=self._factory.pooled)

    def adopt(self, hyperparameters: Hyperparameters) -> None:
        """Take the result of a fit (or an operator's values) and rebuild the cache at the next snapshot."""
        self._counts.end_fit()
        self._hyperparameters = hyperparameters
        self._stale, self._snapshot = True, None

    # ------------------------------------------------------------ persistence

    def take_touched(self) -> tuple[list[tuple[str, int, bytes]], list[tuple[str, int]]]:
        """(segments changed since the last call, packed; segments that no longer exist)."""
        return self._epochs.take_changes()

    def segments(self) -> list[tuple[str, int, bytes]]:
        """Every segment, packed: what a rebuild compares and stores."""
        return self._epochs.pack(everything=True)

    def hyperparameters_json(self) -> str:
        return self._hyperparameters.to_json()

    def learner_json(self) -> str:
        """Counters that a restart needs besides the segments."""
        return json.dumps(
            {
                **self._counts.to_dict(),
                "epoch": self._epochs.epoch,
                "base_epoch": self._epochs.base_epoch,
                "stretches": self._epochs.spans_json(),
                "regimes": self.arm_changes.to_dict(),
            }
        )

    @classmethod
    def restore(
        cls,
        *,
        schema: FeatureSchema,
        settings: PolicySettings,
        arms: Sequence[ArmPrior],
        version: int,
        hyperparameters: str | None,
        learner: str | None,
        segments: Iterable[tuple[str, int, bytes]],
    ) -> PolicyState:
        """The state that ``segments``, ``hyperparameters_json`` and ``learner_json`` were taken from.

        version : 0 where nothing of it is stored yet under this schema.

        Raises
        ------
        InvariantError : damaged bytes, or sums of another number of features.
        """
        state = cls(schema=schema, settings=settings, arms=arms)
        run_through(state.applying(segments, version=version, hyperparameters=hyperparameters, learner=learner))
        return state

    def applying(
        self,
        segments: Iterable[tuple[str, int, bytes]],
        *,
        version: int,
        hyperparameters: str | None,
        learner: str | None,
    ) -> Iterator[None]:
        """Load segments that changed elsewhere (a follower polls the learner's commits), then ``refreshing``."""
        if learner is not None:
            counters = json.loads(learner)
            self._counts.load(counters)
            self._epochs.epoch = int(counters["epoch"])
            self._epochs.base_epoch = int(counters["base_epoch"])
            self._epochs.load_spans(counters.get("stretches", {}))
            if "regimes" in counters:
                self.arm_changes.load(counters["regimes"])
        if hyperparameters is not None:
            self._hyperparameters = Hyperparameters.from_json(hyperparameters, self.schema)
        for arm, label, data in segments:
            self._epochs.load(arm, label, data)
        self._epochs.discard_merged()
        if version == 0:
            self._epochs.touch_everything()
        self.version = version
        self._stale = True
        yield from self.refreshing()
        self._snapshot = self._make_snapshot()

    # ------------------------------------------------------------ inside

    def _total(self, arm: str) -> ArmSums:
        """All evidence of an arm: its own discounted sums plus the prior's, discounted like its oldest."""
        total = self._epochs.total(arm)
        prior = self.settings.prior
        if prior is not None and arm in prior.arms:
            total.merge(prior.arms[arm], scale=self._epochs.oldest_factor(arm))
        return total

    def _known_arms(self) -> set[str]:
        prior = self.settings.prior
        return self._epochs.arms() | (set() if prior is None else set(prior.arms))

    def _look(self, arm: str, epoch: int, x: FloatArray, weight: float, reward: float) -> Signal | None:
        """Compare a new reward with what the posterior expects of it, before it is folded."""
        index = self._index.get(arm)
        if index is None or not self.settings.change_detection:
            return None
        self._refresh()
        mean, variance = self._ridge.predict(index, x)
        noise = self._hyperparameters.noise_of(arm) / weight
        return self.arm_changes.observe(Look(arm, x, reward, mean, variance, noise), epoch)

    def _act(self, signal: Signal) -> None:
        """Apply a detected change, now that its reward is folded."""
        self._refresh()
        differs = self.arm_changes.act(signal, lambda arm: self._ridge.coefficients(self._index[arm]), self.folded)
        self._stale = self._stale or differs
        self._snapshot = None

    def _new_ridge(self) -> PooledRidge | FamilyRidge:
        return ridge_of(self._hyperparameters, self.schema, pooled=self._factory.pooled, like=self._like)

    def _evidence_of(self, index: int) -> Evidence:
        prior = self._arms[index]
        return Evidence(
            self._totals[index],
            centre=float(self._centres[index]),
            noise=self._hyperparameters.noise_of(prior.learned_as),
            prior_reward=CENTRE if prior.quality_prior is None else prior.quality_prior,
            prior_worth=self._prior_worth(prior),
        )

    def _prior_worth(self, prior: ArmPrior) -> float:
        """Rewards that the operator's expectation of an arm is worth; fewer once the arm has changed."""
        worth = 0.0 if prior.quality_prior is None else prior.prior_worth
        return worth * self._epochs.oldest_factor(prior.learned_as)

    def _evidence(self) -> list[Evidence]:
        return [self._evidence_of(index) for index in range(len(self._arms))]

    def _refresh(self) -> None:
        run_through(self.refreshing())

    def _make_snapshot(self) -> Snapshot:
        posterior = self._ridge.posterior()
        names, learned = (tuple(arm.arm for arm in self._arms), tuple(arm.learned_as for arm in self._arms))
        clusters = cluster_sums(self._totals, self.schema) if self._factory.needs_clusters else None
        watching = self.settings.change_detection and self.arm_changes.changed
        curious = self.arm_changes.curiosity(learned, self.folded) if watching else None
        return Snapshot(
            version=self.version,
            epoch=self.epoch,
            arms=names,
            policy=self._factory.bind(PolicyView(posterior, names, clusters, curious)),
            posterior=posterior,
            probe_share=self.arm_changes.probes(learned, self.folded) if watching else None,
        )
