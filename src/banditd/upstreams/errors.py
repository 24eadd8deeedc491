"""From what an upstream answered to the class of the error: what is to be done about it, not what it was called.

Providers say the same thing in many ways: an empty balance as 400, 402, 403 or 429, a prompt that is too long by code
or only by words. The status alone does not tell.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from banditd.core.attempts import ErrorClass
from banditd.ports.upstreams import UpstreamError

MAX_ERROR_BYTES: Final = 65_536
_MAX_MESSAGE: Final = 2_000
_MAX_RETRY_AFTER_S: Final = 3_600.0
_CODE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_CONTEXT: Final = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|prompt is too long|input is too long"
    r"|too many (?:input )?tokens|exceed_context|exceeds? the (?:available|model'?s?) (?:context|maximum)"
    r"|max_prompt_tokens|string_above_max_length.*'(?:messages|input)\[?\d*\]?(?:\.content\S*)?'"
    r"|maximum prompt length|input length and `?max_tokens`? exceed|`?inputs`? tokens \+ `?max_new_tokens`? must be"
    r"|token count.{0,40}exceeds the (?:maximum|limit)|exceeded model token limit",
    re.IGNORECASE,
)
_POLICY: Final = re.compile(
    r"content[ _]?(?:filter|policy|management)|responsible ?ai|moderation_blocked|safety system", re.IGNORECASE
)
_MONEY: Final = re.compile(
    r"insufficient[ _](?:quota|balance|credit|funds)|credit balance|billing[ _](?:hard|not|details)|payment required"
    r"|exceeded your current quota|account.{0,20}(?:deactivated|suspended)",
    re.IGNORECASE,
)
_KEY: Final = re.compile(
    r"invalid[ _]api[ _]key|incorrect api key|api key not valid|authentication_error|permission_error",
    re.IGNORECASE,
)
_BUSY: Final = re.compile(
    r"rate[ _]?limit|overloaded|too many requests|server is busy|at capacity|resource_exhausted", re.IGNORECASE
)
# An endpoint lacks what others have.
_UNKNOWN: Final = re.compile(
    r"extra_forbidden|extra inputs are not permitted|un(?:supported|known)[ _](?:parameter|value|name|field|variant)"
    r"|unrecognized request argument|cannot find field|(?:does|do|is|are) not support|is unsupported"
    r"|not a multimodal model|tool choice requires --"
    r"|max\w*_tokens.{0,60}(?:too large|valid range|less than or equal|maximum allowed)",
    re.IGNORECASE,
)
# What an error quotes is most often the client's: names of its tools, addresses of its pictures. An apostrophe within
# a word quotes nothing.
_QUOTED: Final = re.compile(r"\"[^\"]*(?:\"|$)|`[^`]*(?:`|$)|(?<!\w)'[^']*(?:'|$)|https?://\S+")
# Google says in its body when to come again.
_RETRY_DELAY: Final = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds from ``retry-after-ms`` or ``retry-after`` (seconds, or a date), at most an hour; None without one.

    headers : names in lower case. now_s : seconds since the Unix epoch.
    """
    requested: float | None = None
    try:
        if "retry-after-ms" in headers:
            requested = float(headers["retry-after-ms"]) / 1e3
        elif "retry-after" in headers:
            value = headers["retry-after"].strip()
            try:
                requested = float(value)
            except ValueError:
                requested = parsedate_to_datetime(value).timestamp() - now_s
    except (ValueError, TypeError, OverflowError):
        return None
    if requested is None or not math.isfinite(requested):
        return None
    return min(max(requested, 0.0), _MAX_RETRY_AFTER_S)


def from_answer(
    upstream: str, status: int, headers: Mapping[str, str], body: bytes, *, now_s: float, secret: str | None
) -> UpstreamError:
    """The error of an answer whose status is not 2xx."""
    stated, message = _stated(body)
    words = " ".join((*stated, message))
    error_class = classify(status, words)
    code = next((one for one in stated if _CODE.fullmatch(one)), None) or f"http_{status}"
    wait_s = retry_after_s(headers, now_s)
    if wait_s is None and (delay := _RETRY_DELAY.search(body)) is not None:
        wait_s = min(float(delay[1]), _MAX_RETRY_AFTER_S)
    if error_class == "auth":
        # What providers say of a key quotes part of it.
        text = f"the upstream {upstream} refuses the daemon's credentials or account (HTTP {status})"
    elif error_class in {"request", "context", "policy"} and message:
        text = _without(message, secret)
    else:
        text = f"the upstream {upstream} answered HTTP {status}"
    error = UpstreamError(
        text,
        error_class=error_class,
        code=_without(code, secret),
        status=status,
        retry_after_s=wait_s,
        retry_same=error_class == "server" and status >= 500,
    )
    error.elsewhere = error_class == "request" and _UNKNOWN.search(words) is not None
    return error


def from_event(upstream: str, error: object, *, secret: str | None) -> UpstreamError:
    """The error that an upstream sends in the middle of a stream whose status was good."""
    stated, message = _parts(error)
    status = next((int(one) for one in stated if re.fullmatch(r"[45]\d\d", one)), None)
    words = " ".join((*stated, message))
    error_class = classify(status or 500, words) if status else _by_words(words) or "server"
    code = next((one for one in stated if _CODE.fullmatch(one) and not one.isdigit()), None) or "error_event"
    if error_class == "auth" or not message:
        message = f"the upstream {upstream} sent an error in its stream"
    return UpstreamError(
        _without(message, secret), error_class=error_class, code=_without(code, secret), status=status
    )


def classify(status: int, words: str) -> ErrorClass:
    """The class of an answer, from its status and the words of its body."""
    if status == 403 and not words.strip():
        return "server"  # no API's own word: a firewall before it, which may dislike this one prompt
    if status in {401, 402, 403}:
        # Moderation of some providers answers 403, and its words say so.
        return "policy" if status == 403 and _POLICY.search(words) and not _KEY.search(words) else "auth"
    named = _by_words(words)
    if status in {400, 413, 422} and named is not None:
        return named
    if status == 429 and named == "auth" and "RESOURCE_EXHAUSTED" not in words:
        return "auth"  # no money is no rate: waiting does not help. Google says of a rate that it is a quota
    if status == 500 and named == "context":
        return "context"
    if status in {429, 503, 529}:
        return "overload"
    if 400 <= status < 500 and status not in {404, 405, 408, 409, 410, 425}:
        return "request"
    # 404 and its like: the model or the endpoint of the arm is gone. The client named neither.
    return "server"


def _by_words(words: str) -> ErrorClass | None:
    """Nothing that a client may write into a request closes an arm to others."""
    own = _QUOTED.sub("", words)
    patterns: tuple[tuple[re.Pattern[str], str, ErrorClass], ...] = (
        (_MONEY, own, "auth"), (_KEY, own, "auth"), (_CONTEXT, words, "context"), (_POLICY, words, "policy"),
        (_BUSY, own, "overload"),
    )  # fmt: skip
    return next((named for pattern, text, named in patterns if pattern.search(text)), None)


def _stated(body: bytes) -> tuple[list[str], str]:
    try:
        answer = json.loads(body)
    except ValueError:
        return [], ""
    if isinstance(answer, list) and answer:  # Gemini's endpoint wraps its error in a list
        answer = answer[0]
    if isinstance(answer, dict):
        inner = answer.get("error", answer)
        return _parts(inner if isinstance(inner, dict | str) else answer)
    return _parts(answer)


def _parts(error: object) -> tuple[list[str], str]:
    """(codes and types, message) of an error object."""
    if isinstance(error, dict):
        codes = [str(error[name]) for name in ("code", "type", "status") if isinstance(error.get(name), str | int)]
        message = error.get("message") or error.get("detail") or ""
        # Some say which field is wrong in a list of objects.
        text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        metadata = error.get("metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):  # OpenRouter: what its provider said
            text = f"{text}: {metadata['raw']}"
        return codes, text[:_MAX_MESSAGE]
    return [], error[:_MAX_MESSAGE] if isinstance(error, str) else ""


def _without(text: str, secret: str | None) -> str:
    """The text without the daemon's key in it."""
    return text.replace(secret, "[key]") if secret else text
