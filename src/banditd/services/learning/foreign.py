"""Rewards that this learner cannot fold: of another feature schema, or of damaged decisions. It says so."""

from __future__ import annotations

import logging

from banditd.ports import FoldItem

logger = logging.getLogger(__name__)


class ForeignRewards:
    """Remembers which schemas it has named."""

    def __init__(self) -> None:
        self._named: set[tuple[str, str]] = set()

    def tell(self, item: FoldItem) -> None:
        """Say once that rewards wait for a learner of another feature schema; of a damaged decision each time."""
        if item.damage:
            logger.error("decision.damaged", extra={"decision_id": item.decision_id, "reason": item.damage})
        elif (item.policy, item.schema_hash) not in self._named:
            self._named.add((item.policy, item.schema_hash))
            logger.warning(
                "reward.schema_differs",
                extra={"policy": item.policy, "decision_id": item.decision_id, "schema": item.schema_hash},
            )
