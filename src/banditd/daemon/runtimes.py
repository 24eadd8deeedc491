"""Floor 6: from the configuration to the policies' runtimes, with feature maps and prior files read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from banditd.core.errors import ConfigurationError
from banditd.daemon.configs import policy_configs
from banditd.daemon.prior_file import read_prior
from banditd.daemon.tier_table import read_tier_table
from banditd.encoders.static import SHIPPED_FOLDER
from banditd.features.context import ContextBuilder
from banditd.features.maps import FeatureMaps, load_feature_maps
from banditd.features.outline import PROMPT_TEMPLATE
from banditd.ports import Encoder
from banditd.services.policy import PolicyConfig, PolicyRuntime
from banditd.services.template_names import TemplateNames
from banditd.settings import PolicySettingsSection, Settings

logger = logging.getLogger(__name__)


def make_runtimes(settings: Settings, encoder: Encoder) -> dict[str, PolicyRuntime]:
    """A runtime per policy, with the feature maps that belong to the encoder."""
    maps = configured_maps(settings)
    return {
        name: PolicyRuntime(
            with_tiers(warm_started(config, settings.policies[name]), settings.policies[name]),
            ContextBuilder(
                encoder_id=encoder.encoder_id,
                maps=maps,
                caller_features=config.caller_features,
                context_tags=config.context_tags,
            ),
        )
        for name, config in policy_configs(settings).items()
    }


def name_templates(runtimes: Mapping[str, PolicyRuntime], names: TemplateNames) -> None:
    """Prompt templates have names where a policy has them as a context tag."""
    for runtime in runtimes.values():
        if PROMPT_TEMPLATE in runtime.config.context_tags:
            runtime.template_names = names


def configured_maps(settings: Settings) -> FeatureMaps:
    """The feature maps of the configured encoder.

    Raises
    ------
    ConfigurationError : there are none, or they cannot be read.
    """
    folder = settings.encoder.feature_maps
    if folder is None:
        if settings.encoder.model != "static":
            raise ConfigurationError(
                f"encoder.model {settings.encoder.model} needs encoder.feature_maps: build them with "
                f"'banditd encoder build --model {settings.encoder.model} --prompts FILE --out FOLDER'"
            )
        folder = SHIPPED_FOLDER
    return load_feature_maps(folder)


def warm_started(config: PolicyConfig, section: PolicySettingsSection) -> PolicyConfig:
    """The policy with its prior file read and scaled.

    Raises
    ------
    ConfigurationError : the file cannot be used.
    """
    if section.prior_file is None:
        return config
    read = read_prior(section.prior_file)
    prior = read.rescaled(section.prior_worth_rewards, half_life=config.settings.forgetting)
    logger.info(
        "policy.prior_read",
        extra={
            "policy": config.name,
            "source": prior.source,
            "arms": sorted(prior.arms),
            "rewards": round(read.rewards, 1),
            "worth_rewards": round(prior.rewards, 1),
        },
    )
    return replace(config, settings=replace(config.settings, prior=prior))


def with_tiers(config: PolicyConfig, section: PolicySettingsSection) -> PolicyConfig:
    """The policy with its tier table read.

    Raises
    ------
    ConfigurationError : the table cannot be used.
    """
    if section.tier_table is None:
        return config
    table = read_tier_table(section.tier_table)
    logger.info(
        "policy.tiers_read",
        extra={"policy": config.name, "tier_table": section.tier_table, "as_of": table.as_of.isoformat()},
    )
    return replace(config, tier_table=table)


def report_unused_priors(runtimes: Mapping[str, PolicyRuntime]) -> None:
    """Log arms that a prior knows and the policy does not have (their sums are left out)."""
    for name, runtime in runtimes.items():
        prior = runtime.config.settings.prior
        unused = sorted(set(prior.arms) - {arm.arm for arm in runtime.arms}) if prior is not None else []
        if unused:
            logger.warning("policy.prior_arms_unknown", extra={"policy": name, "arms": unused})
