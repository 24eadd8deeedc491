"""Schemas of what is asked and answered by tag, and of the names of clusters. ``null`` is "not enough data"."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from banditd.web.schemas.base import (
    AnswerModel,
    GroupParameter,
    Label,
    OpenAnswerModel,
    PolicyParameters,
    RequestModel,
    RewardSummary,
    TagParameter,
)


class TagParameters(PolicyParameters):
    """Which policy; of one value of a tag, or by the values of a tag (not both)."""

    tag: TagParameter | None = None
    """Only decisions with this tag, such as ``task:summarise``; ``task:`` is its values without own counters."""
    by: GroupParameter | None = None
    """A group for every value of a tag, such as ``tag:task``."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.tag is not None and self.by is not None:
            raise PydanticCustomError("one_of", "give tag or by, not both")
        return self

    @property
    def tag_of_by(self) -> str | None:
        """The tag to group by."""
        return None if self.by is None else self.by.removeprefix("tag:")


class TagValueAnswer(AnswerModel):
    """A tag and its value; null is all values that have no counters of their own."""

    tag: str
    value: str | None
    other: bool


class Always(AnswerModel):
    """What an arm would have earned on all rated decisions of a value, however they were chosen."""

    mean: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    """95 % interval by the variance of the draws."""


class TagArm(RewardSummary):
    """One arm on the queries of one value. Its mean reward is of those it answered, which routing chose for it."""

    arm: str
    decisions: int
    share: float | None
    always: Always | None
    """By this arms compare; null where no interval can be given."""
    spend_usd: float
    cost_usd_per_decision: float | None
    """What it was predicted to cost on the decisions that it could answer."""
    mean_latency_ms: float | None


class TagCells(TagValueAnswer):
    """The arms on the queries of one value."""

    decisions: int
    best_arm: str | None
    """Of the highest ``always``, when its interval is clear of all others; else null."""
    arms: list[TagArm]


class TagGroup(TagCells, RewardSummary):
    """The decisions with one value of a tag."""

    exploration_rate: float | None
    coverage_share: float | None
    """Share of decisions with a reward."""
    spend_usd: float
    predicted_spend_usd: float


class ContextPatch(RequestModel):
    """What a cluster is called."""

    name: Label | None
    """At most 80 characters; null takes the name back."""


class ContextNameAnswer(AnswerModel):
    """What a cluster is called now."""

    policy: str
    cluster: int
    name: str
    name_source: Literal["user", "tags", "shipped"]


class CountedValue(AnswerModel):
    """One value of a tag."""

    value: str | None
    other: bool
    decisions: int


class CountedTag(AnswerModel):
    """One tag with counters, over the policy's life (decisions from the upgrade on that counts them)."""

    tag: str
    decisions: int
    values: list[CountedValue]


class TagsAnswer(AnswerModel):
    """The tags of a policy's queries: at most 16 have counters, and of each at most 100 values."""

    policy: str
    tags: list[CountedTag]


class ContextArm(RewardSummary):
    """One arm in one cluster."""

    arm: str
    decisions: int
    posterior_mean: float | None
    """Predicted reward of the cluster's mean query."""
    posterior_deviation: float | None
    """Of the cluster's true mean reward about it: what the model does not know, and how far it fits."""
    posterior_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    """95 % interval of the cluster's true mean reward by the model, in [0, 1]."""
    spend_usd: float
    mean_latency_ms: float | None


class ContextRow(OpenAnswerModel):
    """One cluster of queries."""

    cluster: int
    name: str
    name_source: Literal["user", "tags", "shipped"]
    """Whether somebody has named it, its most telling tags have, or the shipped words do."""
    words: list[str]
    """Typical words of such queries, as shipped with the encoder: not of your traffic."""
    decisions: int
    best_arm: str | None
    """Of the highest mean reward, when its interval is clear of all others; else null."""
    arms: list[ContextArm]


class ContextsAnswer(AnswerModel):
    """The readable contexts of a policy."""

    policy: str
    clusters: list[ContextRow]
    """Empty where the answer is by the values of a tag."""
    tag: TagValueAnswer | None = None
    """Whose decisions these are, where a tag was asked for."""
    groups: list[TagCells] | None = None
    """With ``by``: how every arm did on the queries of every value; most decisions first."""
