"""``POST /v1/decisions/{id}/feedback-link``, and the page that such a link opens: two buttons, no script.

Mail scanners follow links, so a GET only shows the page and a POST counts. The page needs no API key: the link's
signature is the right to vote on one decision.
"""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from banditd.core.errors import BanditdError, InvalidInputError, RateLimitedError
from banditd.core.times import iso_time
from banditd.core.types import Decision
from banditd.services.feedback import FeedbackLink, FeedbackService
from banditd.web import pages
from banditd.web.api import Api, BodyRule, there
from banditd.web.body import read_body, read_model
from banditd.web.handlers.rewards import path_decision
from banditd.web.json import json_answer
from banditd.web.problems import CrossOriginError, HostUnknownError, kind_of, problem_answer
from banditd.web.schemas.rewards import FeedbackLinkRequest
from banditd.web.security import OWNER

FORM_BODY: Final = BodyRule(types=("application/x-www-form-urlencoded",), most_bytes=lambda _: 1024, bounded=False)
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_THANKS: Final = {"up": "Thank you. We counted it as good.", "down": "Thank you. We counted it as not good."}


async def create(api: Api, request: web.Request) -> web.Response:
    """Make a link for a decision."""
    feedback = _feedback(api)
    decision_id = await path_decision(api, request)
    requested = await read_model(request, FeedbackLinkRequest) if request.body_exists else FeedbackLinkRequest()
    token, expires_at_us = await feedback.link(
        decision_id,
        metric=requested.metric,
        source=requested.source,
        expires_in_s=requested.expires_in_s,
        words=(requested.question or "", requested.up or "", requested.down or ""),
        owner=request.get(OWNER),
    )
    return json_answer(
        {"decision_id": decision_id, "url": url_of(api, request, token), "expires_at": iso_time(expires_at_us)}
    )


async def show(api: Api, request: web.Request) -> web.Response:
    """The page with its two buttons. Opening it counts nothing."""
    return _page(_buttons(_feedback(api).read(request.match_info["token"]), ""))


async def vote(api: Api, request: web.Request) -> web.Response:
    """Count a vote. Voting again counts once; the other button corrects it."""
    feedback = _feedback(api)
    link = feedback.read(request.match_info["token"])
    api.feedback_limiter.take(link.decision_id)
    stated = parse_qs((await read_body(request)).decode("ascii", "replace"))
    thumb = stated.get("thumb", [""])[0]
    if thumb not in _THANKS:
        raise InvalidInputError("press one of the two buttons", code="FEEDBACK_UNKNOWN", field="/thumb")
    await feedback.vote(link, thumb)
    return _page(_buttons(link, _THANKS[thumb]))


def failed(error: BaseException, request_id: str) -> web.Response:
    """What went wrong, as a page for people; the doorman speaks as everywhere."""
    if isinstance(error, CrossOriginError | HostUnknownError):
        return problem_answer(error, request_id)
    kind = kind_of(error)
    reported = error.message if isinstance(error, BanditdError) and kind.status < 500 else kind.title
    answer = _page(f"<h1>{escape(reported[:1].upper() + reported[1:])}.</h1>", status=kind.status)
    if isinstance(error, RateLimitedError):
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return answer


def url_of(api: Api, request: web.Request, token: str) -> str:
    """The link's address: below ``server.public_url``, else where this request was sent to."""
    base = api.config.public_url or f"{request.scheme}://{request.host}"
    return f"{base.rstrip('/')}/feedback/{token}"


def link_of(api: Api, request: web.Request, decision: Decision) -> str | None:
    """The address of a link for a decision of this request."""
    feedback = api.services.feedback
    return None if feedback is None else url_of(api, request, feedback.link_of(decision))


def _feedback(api: Api) -> FeedbackService:
    return there(api.services.feedback, "there are no feedback links here", "FEEDBACK_LINK_UNKNOWN")


def _buttons(link: FeedbackLink, thanks: str) -> str:
    question = escape(link.question or "Was this answer good?")
    head = f"<h1>{escape(thanks)}</h1><p>You may change it:</p>" if thanks else f"<h1>{question}</h1>"
    return (
        f"{head}<form method=post>"
        f"<p><button name=thumb value=up>{escape(link.up or 'Yes, good')}</button> "
        f"<button name=thumb value=down>{escape(link.down or 'No, not good')}</button></p></form>"
    )


def _page(body: str, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=pages.page("Feedback", body).encode(),
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex, nofollow",
            "Cache-Control": "no-store",
            # The address is the right to vote: no other site may learn it. Without any referrer at all a browser
            # would send the form with the origin null.
            "Referrer-Policy": "same-origin",
        },
    )
