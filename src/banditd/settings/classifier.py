"""A policy's classifier: a model that is asked for a tag of every query before it is routed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints, field_validator, model_validator

from banditd.core.calls import check_params
from banditd.core.classifying import CLASSIFIED, QUERY, plain
from banditd.features.outline import PROMPT_TEMPLATE
from banditd.features.tags import PLACES
from banditd.settings.arms import PriceSettings
from banditd.settings.base import Section
from banditd.settings.gateway import GatewaySettings, UpstreamSettings

MOST_LABELS: Final = PLACES
_Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ClassifierSettings(Section):
    """A model that labels queries, and gets their text. See docs/constraints.md."""

    upstream: str = Field(description="where the model is; it gets the queries' text")
    model: str = Field(min_length=1, max_length=256, description="its name there")
    prompt: str = Field(max_length=8000, description="what it is asked, with {query} where the text belongs")
    labels: tuple[_Label, ...] = Field(max_length=MOST_LABELS, description="valid replies; all others give no tag")
    tag: str = Field(min_length=1, description="tag that gets the label; one of context_tags")
    price: PriceSettings = Field(default_factory=PriceSettings, description="what it costs; not an arm's")
    params: dict[str, Any] = Field(default_factory=dict, description="such as {temperature: 0, max_tokens: 5}")
    timeout_s: float = Field(2.0, gt=0, le=60, description="then the query is routed without the tag")
    usd_per_day: float | None = Field(
        None, gt=0, description="cap on what its calls cost in any 24 hours, all replicas together"
    )
    cache: int = Field(10_000, ge=0, le=1_000_000, description="texts whose label is cached, by a keyed hash")
    max_chars: int = Field(4000, ge=200, le=100_000, description="of a text; longer ones lose their middle")
    concurrency: int = Field(16, ge=1, le=256, description="calls at once on each replica")

    @field_validator("labels", mode="before")
    @classmethod
    def _texts(cls, labels: object) -> object:
        """Labels are often yes and no, which YAML reads as true and false."""
        if isinstance(labels, list) and any(isinstance(label, bool) for label in labels):
            raise ValueError("labels has yes, no, on, off, true or false, which YAML reads as no text: quote them")
        return labels

    @model_validator(mode="after")
    def _askable(self) -> ClassifierSettings:
        if QUERY not in self.prompt:
            raise ValueError(f"prompt has no {QUERY}: without it the model never sees the text to label")
        if not self.labels:
            raise ValueError("labels is empty: name the replies that become a tag, such as [code, maths, other]")
        blank = [label for label in self.labels if not label.isprintable() or not plain(label)]
        if blank:
            raise ValueError(f"labels must be printable words: {', '.join(map(repr, blank))}")
        same = [label for at, label in enumerate(self.labels) if plain(label) in map(plain, self.labels[:at])]
        if same:
            raise ValueError(
                f"labels cannot be told apart without case and white space: {', '.join(map(repr, same))}"
            )
        check_params(self.params, {})
        return self


def check_tag(
    classifier: ClassifierSettings | None, context_tags: Collection[str], caller_features: Collection[str]
) -> None:
    """Refuse a classifier for a tag that nothing learns from. Raises ValueError."""
    if classifier is None:
        return
    tag = classifier.tag
    if tag not in context_tags:
        have = ", ".join(context_tags) or "none"
        raise ValueError(
            f"classifier.tag is {tag}, and context_tags has {have}: nothing would be learned from it; add {tag} there"
        )
    if tag == PROMPT_TEMPLATE:
        raise ValueError(f"classifier.tag is {tag}, which the daemon sets itself: choose another")
    if CLASSIFIED + tag in caller_features:
        raise ValueError(
            f"caller_features has {CLASSIFIED}{tag}, which says where the tag {tag} comes from: rename it"
        )


def check_classifiers(
    classifiers: Mapping[str, ClassifierSettings | None],
    upstreams: Mapping[str, UpstreamSettings],
    gateway: GatewaySettings,
) -> None:
    """Refuse classifiers whose upstream does not exist. classifiers : by policy. Raises ValueError."""
    for policy, classifier in classifiers.items():
        if classifier is None:
            continue
        if not upstreams or gateway.enabled is False:
            raise ValueError(
                f"policies.{policy}.classifier needs the gateway, which is off: name an endpoint below upstreams"
            )
        if classifier.upstream not in upstreams:
            raise ValueError(
                f"policies.{policy}.classifier names the upstream {classifier.upstream}; there is "
                f"{', '.join(upstreams)}"
            )
