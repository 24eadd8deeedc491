"""Signed feedback links: with one, people without an API key can rate an answer. The signature is the authorisation.

A link contains everything it stands for; nothing is stored. It expires at a given time, or when the database's secret
changes.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from banditd.core.errors import BanditdError, ForbiddenError, GoneError, InvalidInputError, NotFoundError
from banditd.core.rewards import RewardReceipt
from banditd.core.types import Decision
from banditd.ports import Clock, DecisionLog, Secrets
from banditd.services.policy import PolicyRuntime
from banditd.services.walks import RewardInput, Rewards

METRIC: Final = "quality"
SOURCE: Final = "human"
_VERSION: Final = 1
_SIGNATURE_BYTES: Final = 16
MAX_TOKEN: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLink:
    """What a link stands for: two values (thumb up, thumb down) of one metric, from one source, for one decision.

    question, up, down : texts on the page; empty for the defaults.
    """

    decision_id: str
    expires_at_us: int
    metric: str = "quality"
    source: str = "human"
    question: str = ""
    up: str = ""
    down: str = ""


class FeedbackService:
    """Creates links, reads them, and records the votes made with them."""

    def __init__(
        self,
        *,
        secrets: Secrets,
        decisions: DecisionLog,
        rewards: Rewards,
        runtimes: Mapping[str, PolicyRuntime],
        clock: Clock,
    ) -> None:
        self._key = secrets.key("feedback")
        self._decisions = decisions
        self._rewards = rewards
        self._runtimes = runtimes
        self._clock = clock

    async def link(
        self,
        decision_id: str,
        *,
        metric: str,
        source: str | None,
        expires_in_s: float | None,
        words: tuple[str, str, str],
        owner: str | None,
    ) -> tuple[str, int]:
        """Returns (token of a new link, its expiry in microseconds).

        The link expires with the reward window, or after ``expires_in_s``.

        words : question, up and down; empty for the page's own.
        owner : name of an API key that may only link its own decisions; None: any decision.

        Raises
        ------
        NotFoundError : no such decision. ForbiddenError : another key's decision. InvalidInputError : an unknown
        source.
        """
        made: Any = await self._decisions.get(decision_id)
        if made is None:
            raise NotFoundError(f"no decision {decision_id}", code="DECISION_NOT_FOUND", field="/decision_id")
        if owner is not None and made["key_name"] not in {None, owner}:
            raise ForbiddenError(
                f"decision {decision_id} was made with another API key, and this key only has the scope reward:own; "
                "the scope reward covers every decision",
                code="DECISION_OF_ANOTHER_KEY",
            )
        source = self._source(made["policy"], source)
        expires_at_us = int(made["expires_at_us"])
        if expires_in_s is not None:
            expires_at_us = self._clock.now_us() + int(expires_in_s * 1e6)
        question, up, down = words
        link = FeedbackLink(
            decision_id=decision_id,
            expires_at_us=expires_at_us,
            metric=metric,
            source=source,
            question=question,
            up=up,
            down=down,
        )
        return self._token(link), expires_at_us

    def link_of(self, decision: Decision) -> str:
        """The token of a link for a decision just made, valid until its reward window closes."""
        source = self._source(decision.policy, None)
        link = FeedbackLink(decision_id=decision.decision_id, expires_at_us=decision.expires_at_us, source=source)
        return self._token(link)

    def read(self, token: str) -> FeedbackLink:
        """The link that a token stands for.

        Raises
        ------
        NotFoundError : it was not made by this daemon, or was altered. GoneError : it has expired.
        """
        text, _, signature = token.partition(".")
        payload, given = _decode(text), _decode(signature)
        if (
            payload is None
            or given is None
            or len(token) > MAX_TOKEN
            or not hmac.compare_digest(given, self._sign(payload))
        ):
            raise NotFoundError("this link is incomplete, or was not made here", code="FEEDBACK_LINK_UNKNOWN")
        version, decision_id, expires_s, *stated = json.loads(payload)
        if version != _VERSION:
            raise NotFoundError("this link was made by another version of banditd", code="FEEDBACK_LINK_UNKNOWN")
        if self._clock.now_us() >= expires_s * 1_000_000:
            raise GoneError("the time for this feedback is over", code="FEEDBACK_LINK_EXPIRED")
        metric, source, question, up, down = stated or (METRIC, SOURCE, "", "", "")
        return FeedbackLink(
            decision_id=decision_id,
            expires_at_us=expires_s * 1_000_000,
            metric=metric,
            source=source,
            question=question,
            up=up,
            down=down,
        )

    async def vote(self, link: FeedbackLink, thumb: str) -> RewardReceipt:
        """Record a vote; a later one by the same link replaces it. Raises the same errors as submitting a reward."""
        reward = RewardInput(
            decision_id=link.decision_id,
            thumb=thumb,
            metric=link.metric,
            source=link.source,
            metadata={"by": "feedback_link"},
            body_hash=f"feedback:{thumb}",
        )
        [outcome] = await self._rewards.submit([reward])
        if isinstance(outcome, BanditdError):
            raise outcome
        return outcome

    def _source(self, policy: str, stated: str | None) -> str:
        """The source that votes are recorded under: as stated, else ``human``, else the policy's first source."""
        runtime = self._runtimes.get(policy)
        sources = () if runtime is None else tuple(runtime.config.rewards.sources)
        source = stated or (SOURCE if SOURCE in sources or not sources else sources[0])
        if source not in sources:
            raise InvalidInputError(
                f"unknown source {source}; policy {policy} knows {', '.join(sources) or 'none'}",
                code="SOURCE_UNKNOWN",
                field="/source",
            )
        return source

    def _token(self, link: FeedbackLink) -> str:
        stated: list[object] = [_VERSION, link.decision_id, -(-link.expires_at_us // 1_000_000)]
        words = [link.metric, link.source, link.question, link.up, link.down]
        if words != [METRIC, SOURCE, "", "", ""]:
            stated += words
        payload = json.dumps(stated, separators=(",", ":")).encode()
        return f"{_encode(payload)}.{_encode(self._sign(payload))}"

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encode(data) == text else None  # one token, one spelling
