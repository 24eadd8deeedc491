"""Classifiers: a model that assigns one of a few labels to a query, which then becomes a tag. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from banditd.core.types import Price

QUERY: Final = "{query}"
"""Placeholder for the query's text in a prompt."""
CLASSIFIED: Final = "classified:"
"""Prefix of the fact that records a classifier's result for a tag: 1 if it returned a label, 0 if it failed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRule:
    """A policy's classifier, as configured by the operator.

    prompt : contains ``QUERY``.
    labels : the values that the tag may take.
    timeout_s : longest time that a query waits for the label.
    usd_per_day : no call is made if it would raise the cost of the last 24 hours above this; None: no limit.
    cache : number of texts whose labels are remembered.
    max_chars : longer texts lose their middle.
    concurrency : calls that may run at once.
    """

    policy: str
    upstream: str
    model: str
    prompt: str
    labels: tuple[str, ...]
    tag: str
    price: Price = field(default_factory=Price)
    params: Mapping[str, object] = field(default_factory=dict)
    timeout_s: float = 2.0
    usd_per_day: float | None = None
    cache: int = 10_000
    max_chars: int = 4000
    concurrency: int = 16

    def label_in(self, reply: str) -> str | None:
        """The label in a reply, ignoring case and white space; None if the reply is not one of the labels."""
        words = plain(reply)
        return next((label for label in self.labels if plain(label) == words), None)


def plain(text: str) -> str:
    """The text with case folded and white space normalised, for comparing labels."""
    return " ".join(text.split()).casefold()


def tags_by_classifier(facts: Mapping[str, float]) -> dict[str, bool]:
    """Tag -> whether the classifier returned a label for it; only tags that it was asked for."""
    return {
        name.removeprefix(CLASSIFIED): value > 0.0 for name, value in facts.items() if name.startswith(CLASSIFIED)
    }
