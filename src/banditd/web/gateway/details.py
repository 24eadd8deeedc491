"""What ``explain`` adds to an answer: the decision with every arm's score, the attempts and what they took."""

from __future__ import annotations

from banditd.services.gateway.exchange import Exchange
from banditd.web.answers import decision_answer


def details_of(exchange: Exchange) -> dict[str, object]:
    """The object ``banditd`` of an answer."""
    details: dict[str, object] = {}
    if exchange.decision is not None:
        details |= decision_answer(exchange.decision, dry_run=False, explain=True)
    served = exchange.served
    details["recipe"] = None if served is None or served.recipe is None else served.recipe.plain()
    details["served_arm"] = None if served is None else served.arm
    details["attempts"] = [attempt._asdict() for attempt in exchange.attempts_now]
    return details
