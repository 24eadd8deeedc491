"""Classifiers: a model that gives a query one of a few labels, which becomes its tag. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from banditd.core.types import Price

QUERY: Final = "{query}"
"""Where the query's text stands in a prompt."""
CLASSIFIED: Final = "classified:"
"""Before a tag, the name of a fact of the query: 1 where the classifier gave it, 0 where it was asked in vain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRule:
    """The classifier of a policy as the operator has configured it.

    prompt : holds ``QUERY``. labels : values that the tag may get. timeout_s : that a query waits at most.
    usd_per_day : no call is made where the last 24 hours would cost more; None: no limit. cache : texts whose label
    is remembered. max_chars : of a text; the middle of a longer one is left out. concurrency : calls at once.
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
        """The label that a reply is, whatever its case and white space; None where it is none."""
        words = plain(reply)
        return next((label for label in self.labels if plain(label) == words), None)


def plain(text: str) -> str:
    """What is left of a label where case and white space do not matter."""
    return " ".join(text.split()).casefold()


def tags_by_classifier(facts: Mapping[str, float]) -> dict[str, bool]:
    """The tags that a classifier was asked for, and whether it gave one."""
    return {
        name.removeprefix(CLASSIFIED): value > 0.0 for name, value in facts.items() if name.startswith(CLASSIFIED)
    }
