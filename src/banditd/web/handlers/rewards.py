"""``POST /v1/rewards`` (one or a list) and ``DELETE /v1/rewards/{id}``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict
from typing import Final

from aiohttp import web
from pydantic import TypeAdapter

from banditd.core.errors import BanditdError, NotFoundError
from banditd.core.pace import paced_map
from banditd.core.references import Reference, decision_id_in
from banditd.core.rewards import RewardReceipt, TaskName
from banditd.services.walks import RewardInput
from banditd.web.api import Api
from banditd.web.body import read_body, read_many, validated
from banditd.web.idempotency import header_key
from banditd.web.json import encode, json_answer
from banditd.web.keys import KEY_NAME
from banditd.web.problems import InvalidFieldsError, item_error, kind_of
from banditd.web.schemas.base import UUID_PATTERN, Label
from banditd.web.schemas.rewards import RewardRequest
from banditd.web.security import OWNER

_BEFORE_JSON: Final = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # marks and zeros of UTF-16 and UTF-32 too
_ONE: Final = TypeAdapter(RewardRequest)
_REFERENCE: Final = TypeAdapter(Label)
UNKNOWN_DECISION: Final = "DECISION_NOT_FOUND"
BY_REFERENCE: Final = "reference:"
_UUID: Final = re.compile(UUID_PATTERN)


async def create(api: Api, request: web.Request) -> web.Response:
    """Record one reward, or a list of them in one transaction."""
    body = await read_body(request)
    in_header = header_key(request)
    if body.lstrip(_BEFORE_JSON)[:1] != b"[":
        requested = await validated(_ONE.validate_json, RewardRequest, body)
        key = _single_key(in_header, requested.idempotency_key)
        if requested.task_id is not None:
            receipt = await api.services.rewards.submit_task(to_input(api, requested, key, request))
            return json_answer(asdict(receipt), status=202 if receipt.held else 200)
        [outcome] = await api.services.rewards.submit([to_input(api, requested, key, request)])
        if isinstance(outcome, BanditdError):
            raise outcome
        return json_answer(receipt_answer(outcome), status=_status(outcome))
    many = await read_many(body, RewardRequest)
    _check_list(many, in_header, api.config.max_batch)
    inputs = await paced_map(lambda one: to_input(api, one, one.idempotency_key, request), many)
    outcomes = await api.services.rewards.submit(inputs)
    failed = any(isinstance(outcome, BanditdError) for outcome in outcomes)
    results = [_item(index, outcome) for index, outcome in enumerate(outcomes)]
    return json_answer({"results": results}, status=207 if failed else 200)


async def retract(api: Api, request: web.Request) -> web.Response:
    """Retract a reward."""
    receipt = await api.services.rewards.retract(path_id(request, "REWARD_NOT_FOUND"), request.get(OWNER))
    return json_answer(receipt_answer(receipt))


def path_id(request: web.Request, code: str) -> str:
    """The id in the path. Anything but a UUID is unknown, and never reaches the database."""
    given = request.match_info["id"].lower()
    if not _UUID.fullmatch(given):
        raise NotFoundError("the id in the path is not one of ours (a UUID)", code=code)
    return given


async def path_decision(api: Api, request: web.Request) -> str:
    """The decision in the path: its id, an answer's id built from it, or ``reference:`` and the client's
    reference.
    """
    given = request.match_info["id"]
    if given.startswith(BY_REFERENCE):
        try:
            text = _REFERENCE.validate_python(given.removeprefix(BY_REFERENCE))
        except ValueError:
            raise NotFoundError("a reference has 1 to 256 characters", code=UNKNOWN_DECISION) from None
        reference = Reference(text, request.get(KEY_NAME))
        return _answered_now(api, reference) or await api.services.rewards.decision_of(reference)
    return decision_id_in(given) or path_id(request, UNKNOWN_DECISION)


def to_input(api: Api, requested: RewardRequest, key: str | None, request: web.Request) -> RewardInput:
    """The reward in the form that the services take."""
    reference = None if requested.reference is None else Reference(requested.reference, request.get(KEY_NAME))
    stated: tuple[object, ...] = (
        requested.decision_id, requested.value, requested.thumb, requested.metric, requested.source,
        requested.retract,
        sorted(requested.metadata.items()) if requested.metadata else None,
    )  # fmt: skip
    if reference is not None:
        stated = (*stated, reference.text, reference.key_name)
    if requested.arm is not None:
        stated = (*stated, "arm", requested.arm)
    if requested.task_id is not None:
        stated = (*stated, "task", requested.task_id)
    answered = None if reference is None else _answered_now(api, reference)
    return RewardInput(
        decision_id=answered or requested.decision_id or "",
        reference=None if answered else reference,
        value=requested.value,
        thumb=requested.thumb,
        metric=requested.metric,
        source=requested.source,
        retract=requested.retract,
        idempotency_key=key,
        metadata=requested.metadata,
        body_hash=hashlib.sha256(encode(stated)).hexdigest(),
        key_name=request.get(KEY_NAME),
        owner=request.get(OWNER),
        arm=requested.arm,
        task=None if requested.task_id is None else TaskName(requested.task_id, request.get(KEY_NAME)),
    )


def _answered_now(api: Api, reference: Reference) -> str | None:
    """The decision whose answer has this id, while the gateway has not stored that id yet."""
    exchange = None if api.services.gateway is None else api.services.gateway.answering(reference)
    return None if exchange is None or exchange.decision is None else exchange.decision.decision_id


def receipt_answer(receipt: RewardReceipt) -> dict[str, object]:
    """The JSON of a receipt."""
    return {
        "reward_id": receipt.reward_id,
        "decision_id": receipt.decision_id,
        "status": receipt.status,
        "duplicate": receipt.duplicate,
        "revision": receipt.revision,
        "reward": receipt.reward,
        "late": receipt.late,
        "arm": receipt.arm,
    }


def _single_key(header: str | None, field: str | None) -> str | None:
    if header is not None and field is not None and header != field:
        message = "differs from the header Idempotency-Key; give one of them"
        raise InvalidFieldsError(f"idempotency_key {message}", errors=[("/idempotency_key", message)])
    return header if header is not None else field


def _check_list(many: list[RewardRequest], header_key: str | None, limit: int) -> None:
    if not many or len(many) > limit:
        message = f"a list must hold 1 to {limit} rewards"
        raise InvalidFieldsError(message, errors=[("", message)])
    for index, one in enumerate(many):
        if one.task_id is not None:
            message = "a reward of a task is shared out in a transaction of its own: send it alone"
            raise InvalidFieldsError(f"task_id: {message}", errors=[(f"/{index}/task_id", message)])
    if header_key is not None:
        message = "one key cannot stand for a list; give each item its own idempotency_key"
        raise InvalidFieldsError(message, errors=[("Idempotency-Key", message)])


def _status(receipt: RewardReceipt) -> int:
    return 202 if receipt.status == "held" else 200


def _item(index: int, outcome: RewardReceipt | BanditdError) -> dict[str, object]:
    if isinstance(outcome, BanditdError):
        return {"index": index, "status_code": kind_of(outcome).status, "error": item_error(outcome)}
    return {"index": index, "status_code": _status(outcome), "receipt": receipt_answer(outcome)}
