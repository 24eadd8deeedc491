"""Which session, task and step a request of the gateway belongs to, and what its client calls it by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from banditd.core.long_json import encode_pieces
from banditd.core.origins import STEP, trace_id_in
from banditd.core.references import decision_id_in
from banditd.core.types import Query, Turn
from banditd.services.conversation_names import ConversationNames
from banditd.web.gateway.conversations import Conversation, kept_in, read_conversation
from banditd.web.legible import legible_label
from banditd.web.schemas.base import UUID_PATTERN
from banditd.web.schemas.chat import GatewayOptions

MAX_LABEL: Final = 256
# Headers in which clients tell their conversation, in the order in which they are believed.
SESSION_HEADERS: Final = ("x-openwebui-chat-id", "x-claude-code-session-id", "x-librechat-conversation-id")
MESSAGE_HEADERS: Final = ("x-openwebui-message-id",)
_NOBODY: Final = b"[null,null,null]"
_USER_ID: Final = re.compile(r"_session_([A-Za-z0-9-]{8,})$")
# Headers in which agents name one run of theirs to a gateway or tracer, in the order in which they are believed.
TASK_HEADERS: Final = ("helicone-session-id", "x-portkey-trace-id")
# LangSmith's dotted order: of every run, from the root to the present one, the time of its start and its UUID.
_ROOT_RUN: Final = re.compile(r"[0-9]{8}T[0-9]{6,12}Z([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:\.|$)")
_UUID: Final = re.compile(UUID_PATTERN)


def in_conversation(
    query: Query,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    names: ConversationNames | None,
    *,
    cache_s: float,
    in_pieces: bool = False,
) -> Query:
    """The query, with its session, its turn and its reference set from all that the request tells of them.

    headers : names in lower case. cache_s : how long a model is believed to have a conversation in its prompt cache.
    in_pieces : the body is large, and this is not the event loop.
    """
    query.reference = reference_of(query.reference, headers, body)
    if names is None:
        return query
    conversation = read_conversation(body, in_pieces=in_pieces)
    session = session_of(query.session_id, headers, body, conversation, names, query.key_name)
    query.session_id = session.session_id
    query.origin = query.origin._replace(named_session=session.named)
    query.turn = Turn(
        conversation=session.conversation,
        open=conversation.open,
        sent_share=conversation.sent_share,
        cache_s=cache_s,
    )
    return query


@dataclass(frozen=True, slots=True)
class Session:
    """session_id : as the log shows it. conversation : under which its arm is kept. named : the client says which."""

    session_id: str
    conversation: str
    named: bool = False


def session_of(
    stated: str | None,
    headers: Mapping[str, str],
    body: Mapping[str, Any],
    conversation: Conversation,
    names: ConversationNames,
    key_name: str | None,
) -> Session:
    """The session that a client names to us is taken at its word. What it tells others (a chat's id, a cache key) may
    stand for several conversations at once, such as those of sub-agents: each of them keeps an arm of its own.

    headers : names in lower case. stated : ``banditd.session_id`` or ``x-banditd-session``.
    """
    if stated:
        return Session(stated, stated, named=True)
    if kept := label(kept_in(body)):  # what was said before is not sent again, so nothing else tells
        return Session(kept, names.name(key_name, kept, b"", b""), named=True)
    named, by_session = _named(headers, body)
    users = [body.get("user"), body.get("safety_identifier"), metadata_of(body).get("user_id")]
    stated_users = encode_pieces(users, to_json) if any(one is not None for one in users) else _NOBODY
    setting = b"" if named else conversation.setting + stated_users
    name = names.name(key_name, named or "", setting, conversation.opening)
    return Session(named or name, name, named=by_session)


def reference_of(stated: str | None, headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """What the client calls the decision by: as it says to us, else its message's id, else its trace's."""
    given = stated or label(metadata_of(body).get("banditd_reference"))
    if given:
        return given
    for name in MESSAGE_HEADERS:
        if message := label(headers.get(name)):
            return message
    return trace_id_in(headers.get("traceparent"))


def _named(headers: Mapping[str, str], body: Mapping[str, Any]) -> tuple[str | None, bool]:
    """(the name, whether it is a session's): a cache key may stand for all that an application asks."""
    for name in SESSION_HEADERS:
        if given := label(headers.get(name)):
            return given, True
    if given := label(body.get("prompt_cache_key")):
        return given, False
    user_id = metadata_of(body).get("user_id")
    # The end of it: what is longer than a label names nothing, and all of it may be long.
    found = _USER_ID.search(user_id[-2 * MAX_LABEL :]) if isinstance(user_id, str) else None
    given = None if found is None else label(found[1])
    return given, given is not None


def metadata_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """OpenAI's or Anthropic's object of that name; empty where there is none."""
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def label(value: object) -> str | None:
    """A text that may stand in the log; what is too long names nothing."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_LABEL:
        return None
    return legible_label(value.strip())


def with_named_task(options: GatewayOptions, headers: Mapping[str, str], body: Mapping[str, Any]) -> GatewayOptions:
    """The options, completed by ``metadata.banditd_task_id`` and its like, and by what agents tell other gateways.

    headers : names in lower case. What is too long, or no id, tells nothing.
    """
    metadata = metadata_of(body)
    named: dict[str, Any] = {}
    if not options.task_id and (task_id := label(metadata.get("banditd_task_id")) or _task_in(headers)):
        named["task_id"] = task_id
    if options.parent_decision_id is None and (parent := _decision(metadata.get("banditd_parent_decision_id"))):
        named["parent_decision_id"] = parent
    if not options.step and STEP not in (options.tags or ()) and (step := label(metadata.get("banditd_step"))):
        named["step"] = step
    return options.model_copy(update=named) if named else options


def _task_in(headers: Mapping[str, str]) -> str | None:
    for name in TASK_HEADERS:
        if given := label(headers.get(name)):
            return given
    found = _ROOT_RUN.match(headers.get("langsmith-trace", ""))
    return None if found is None else found[1].lower()


def _decision(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    given = decision_id_in(value) or value
    return given if _UUID.fullmatch(given) else None
