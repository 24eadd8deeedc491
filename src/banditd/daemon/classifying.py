"""Floor 6: classifiers of policies, from their settings to the queries that they are asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from banditd.core.classifying import ClassifierRule
from banditd.core.errors import ConfigurationError
from banditd.core.types import Price
from banditd.daemon.workbench import Workbench
from banditd.obs.metrics import Metrics
from banditd.services.breakers import Breakers
from banditd.services.classifying import Classifier
from banditd.services.gateway.gateway import Gateway
from banditd.services.input_hash import InputHash
from banditd.settings import Settings
from banditd.settings.classifier import ClassifierSettings


@asynccontextmanager
async def classifying(
    settings: Settings, bench: Workbench, gateway: Gateway | None, metrics: Metrics
) -> AsyncIterator[None]:
    """Policies have their classifiers meanwhile. At the end calls under way are waited for a moment.

    Raises
    ------
    ConfigurationError : a classifier's upstream cannot answer a chat.
    """
    opened: list[Classifier] = []
    for policy, section in settings.policies.items():
        if section.classifier is None or gateway is None:
            continue
        rule = classifier_rule(policy, section.classifier)
        if rule.upstream in gateway.upstreams.unable("chat", {}):
            raise ConfigurationError(
                f"policies.{policy}.classifier: the upstream {rule.upstream} cannot answer a chat"
            )
        made = Classifier(
            rule,
            bench.storage.classifying,
            gateway.upstreams,
            Breakers(errors=section.breaker_errors, open_s=section.breaker_s),
            InputHash(bench.secrets),
            bench.clock,
            metrics,
        )
        bench.runtimes[policy].classifier = made
        opened.append(made)
    try:
        yield
    finally:
        for made in opened:
            await made.close()


def classifier_rule(policy: str, section: ClassifierSettings) -> ClassifierRule:
    """The classifier as a plain value."""
    plain = section.model_dump(exclude={"price"})
    return ClassifierRule(policy=policy, price=Price(**section.price.model_dump()), **plain)
