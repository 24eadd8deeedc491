"""Detects that an answer was asked for again: the same session sends the same conversation.

Only if the client names the session: a program that asks the same thing twice without one is not dissatisfied. The
lookup happens when the second answer is settled, off the request path.
"""

from __future__ import annotations

import logging

from banditd.core.errors import BanditdError
from banditd.core.rewards import UsageReport
from banditd.ports.follow_ups import FollowUpReader
from banditd.services.gateway.exchange import Exchange

logger = logging.getLogger(__name__)


class Regenerations:
    """Adds ``regenerated_from`` to settlements whose request does not state it."""

    def __init__(self, reader: FollowUpReader) -> None:
        self._reader = reader

    async def completed(self, report: UsageReport, exchange: Exchange) -> UsageReport:
        """The report, with the decision whose answer it replaces, if one is found."""
        decision, query = exchange.decision, exchange.call.query
        turn, origin = query.turn, query.origin
        if decision is None or turn is None or turn.open:
            return report
        if not origin.named_session or origin.regenerated_from is not None or decision.input_hash is None:
            return report
        try:
            before = await self._reader.answered_before(decision)
        except BanditdError as error:  # the report is stored without it
            logger.info("regeneration.not_looked_for", extra={"code": error.code})
            return report
        return report if before is None else report._replace(regenerated_from=before)
