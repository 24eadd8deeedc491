"""A query that a constraint holds for, from its text to the log."""

from __future__ import annotations

import pytest
from tests.walks.conftest import OpenDaemon

from banditd.core.errors import NoEligibleArmError
from banditd.core.types import Query

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
