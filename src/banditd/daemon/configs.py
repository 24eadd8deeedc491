"""Floor 6: from the settings' models to the plain values that services and adapters take. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from banditd.bandit.policies.base import PolicySettings
from banditd.core.anchor import DriftRule
from banditd.core.constraint import ArmConstraint
from banditd.core.judging import SOURCE_PREFIX
from banditd.core.money import BudgetRule
from banditd.deciding.constraints import Conditions, Constraint
from banditd.deciding.keeper import PromiseRule
from banditd.deciding.objectives import Profile, ResourcePrices
from banditd.detectors.detector import detector
from banditd.detectors.patterns import finder
from banditd.services.policy import PolicyConfig, PolicySwitches, RewardRules, SourceRule
from banditd.settings import PolicySettingsSection, Settings
from banditd.settings.constraints import ConstraintSettings
from banditd.settings.drift import DriftSettings
from banditd.settings.judges import JudgeSettings
from banditd.settings.promise import PromiseSettings
from banditd.settings.rewards import RewardSettings


def policy_configs(settings: Settings) -> dict[str, PolicyConfig]:
    """Every configured policy. Raises ConfigurationError for options that its kind does not know."""
    return {
        name: with_judges(policy_config(name, section), settings.judges)
        for name, section in settings.policies.items()
    }


def with_judges(config: PolicyConfig, judges: Mapping[str, JudgeSettings]) -> PolicyConfig:
    """The policy with its judges among the sources of its rewards, but for those that the operator has named."""
    sources = {
        SOURCE_PREFIX + name: SourceRule(noise_variance=judge.noise_variance, of_judge=True)
        for name, judge in judges.items()
        if not judge.policies or config.name in judge.policies
    }
    if not sources:
        return config
    return replace(config, rewards=replace(config.rewards, sources={**sources, **config.rewards.sources}))


def policy_config(name: str, section: PolicySettingsSection) -> PolicyConfig:
    """One policy as plain values."""
    return PolicyConfig(
        name=name,
        settings=PolicySettings(
            kind=section.kind,
            options=section.options,
            floor=section.exploration_floor,
            forgetting=section.half_life_decisions,
            change_detection=section.change_detection,
        ),
        cost_weight=section.cost_weight,
        switches=PolicySwitches(promise=_promise(section.promise), rollout=section.rollout, mode=section.mode),
        budgets=tuple(BudgetRule(**one.model_dump()) for one in section.all_budgets()),
        profiles={name: Profile(**profile.model_dump()) for name, profile in section.profiles.items()},
        resources=ResourcePrices(**section.resources.model_dump()),
        session_sticky=section.session_sticky,
        breaker_errors=section.breaker_errors,
        breaker_s=section.breaker_s,
        caller_features=section.caller_features,
        context_tags=section.context_tags,
        rewards=_reward_rules(section.reward),
        seed_arms=tuple(arm.value(name) for arm in section.arms),
        constraints=tuple(constraint_of(one) for one in section.constraints),
        drift=drift_rule(section.drift),
    )


def constraint_of(constraint: ConstraintSettings) -> Constraint:
    """A constraint as plain values, without the embeddings of its utterances."""
    return Constraint(
        arms=ArmConstraint(constraint.name, constraint.action, frozenset(constraint.arms)),
        when=Conditions(
            found=finder(constraint.patterns) if constraint.patterns else None,
            detected=detector(constraint.detect) if constraint.detect else None,
            tags=constraint.tags,
            utterances=constraint.utterances,
            similarity=constraint.similarity,
        ),
    )


def drift_rule(drift: DriftSettings) -> DriftRule:
    """What is tolerated of a slow loss, as a plain value."""
    return DriftRule(
        anchor_share=0.0 if drift.anchor is None else drift.anchor.share,
        worse_by=drift.worse_by,
        days_per_false_alarm=drift.days_per_false_alarm,
    )


def _promise(promise: PromiseSettings | None) -> PromiseRule | None:
    return None if promise is None else PromiseRule(**promise.model_dump())


def _reward_rules(reward: RewardSettings) -> RewardRules:
    return RewardRules(
        **reward.model_dump(exclude={"sources", "log_only_metrics"}),
        sources={name: SourceRule(**source.model_dump()) for name, source in reward.sources.items()},
        log_only_metrics=frozenset(reward.log_only_metrics),
    )
