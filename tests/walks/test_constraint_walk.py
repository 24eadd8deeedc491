"""A query that a constraint holds for, from its text to the log."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.constraint import ArmConstraint
from banditd.core.errors import NoEligibleArmError
from banditd.core.types import Query
from banditd.deciding.constraints import Conditions, Constraint
from banditd.services.constraints import AT_ONCE_CHARS, holding

CONTRACT = "Please review this lease contract and tell me which clauses are unusual."
CONSTRAINTS = [
    {"name": "card", "action": "forbid", "arms": ["large", "vision"], "patterns": [r"\b\d{4}(?:[ -]?\d{4}){3}\b"]},
    {
        "name": "law",
        "action": "force",
        "arms": ["large"],
        "utterances": ["Review this contract for unusual clauses."],
    },
    {"name": "night", "action": "prefer", "arms": ["vision"], "tags": {"job": "nightly"}},
]


async def test_constraints_mask_arms_before_the_probabilities(open_daemon: OpenDaemon) -> None:
    async with open_daemon(constraints=CONSTRAINTS) as daemon:
        routing = daemon.services.routing
        card, law, night, plain = await routing.route_batch(
            [
                Query(text="Why was 4111 1111 1111 1111 charged?"),
                Query(text=CONTRACT),
                Query(text="Sum up the day.", tags={"job": "nightly"}),
                Query(text="What is the capital of France?"),
            ]
        )
        assert (card.arms, law.arms, night.arms) == (("small",), ("large",), ("vision",))
        assert card.propensity == law.propensity == night.propensity == 1.0
        assert set(plain.arms) == {"small", "large", "vision"}
        assert card.exclusions["large"] == "constraint:card"
        with pytest.raises(NoEligibleArmError, match="constraint:law"):
            await routing.route(Query(text=CONTRACT, candidates=("small",)))
        # One that is preferred but may not answer is no reason to answer nobody.
        other = await routing.route(
            Query(text="Sum up.", tags={"job": "nightly"}, excluded_arms=frozenset({"vision"}))
        )
        assert set(other.arms) == {"small", "large"}


@pytest.fixture
async def searching() -> None:
    """The threads that long texts are searched in, which are the process's and stay."""
    both = threading.Barrier(2)
    when = Conditions(found=lambda _: both.wait(30) < 2)
    slow = Constraint(arms=ArmConstraint("slow", "forbid", frozenset()), when=when)
    await asyncio.gather(*(holding([slow], "x" * (AT_ONCE_CHARS + 1), {}, None) for _ in range(2)))


@pytest.mark.usefixtures("searching")
async def test_detectors_mask_arms_whatever_the_length_of_the_text(open_daemon: OpenDaemon) -> None:
    detected = [
        {
            "name": "private",
            "action": "forbid",
            "arms": ["large", "vision"],
            "detect": ["pii:CREDIT_CARD", "secrets"],
        },
        {"name": "german", "action": "force", "arms": ["large"], "detect": ["language:de"], "tags": {"team": "de"}},
        {"name": "code", "action": "prefer", "arms": ["vision"], "detect": ["code"], "patterns": ["(?i)review"]},
    ]
    async with open_daemon(constraints=detected) as daemon:
        german = "Was ist die Hauptstadt von Frankreich?"
        code = "def f(x):\n    return x\n\nimport os\n"
        made = await daemon.services.routing.route_batch(
            [
                Query(text="Why was 4111 1111 1111 1111 charged?"),
                Query(text="x " * 50_000 + "4111 1111 1111 1111"),
                Query(text=german, tags={"team": "de"}),
                Query(text=german),
                Query(text="Review this.\n" + code),
                Query(text=code),
                Query(text="x" * 2000),
            ]
        )
    everyone = ("small", "large", "vision")
    assert [set(one.arms) for one in made] == [
        set(one) for one in (["small"], ["small"], ["large"], everyone, ["vision"], everyone, everyone)
    ]
    assert made[1].exclusions["large"] == "constraint:private"
