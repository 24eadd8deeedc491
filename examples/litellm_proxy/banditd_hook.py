"""LiteLLM's proxy asks banditd which deployment to use, and reports what it used and what failed.

Copy this file beside the proxy's config.yaml and name it there, as config.yaml in this folder does. It needs nothing
but LiteLLM. A deployment is the arm that ``model_info.banditd_arm`` names; groups without such deployments are left
alone. Where banditd cannot be asked, LiteLLM goes on with its own choice.

A request that brings a decision (header x-banditd-decision-id, or metadata.banditd_decision_id) was decided already:
banditd is not asked, and hears what the call took.

A request that asks again for an answer, or for a better one, names the decision before it in
x-banditd-regenerated-from or x-banditd-escalated-from (or metadata.banditd_regenerated_from, ...).

One that is a step of an agent's task names it in x-banditd-task-id and x-banditd-step, and the step before it in
x-banditd-parent-decision-id (or metadata.banditd_task_id, ...).

Rewards name a decision by x-banditd-decision-id of the answer, or as ``reference`` by the answer's id, by
metadata.banditd_reference (or x-banditd-reference) of the request, or by its trace in Langfuse.

Environment: BANDITD_URL (http://127.0.0.1:8484), BANDITD_KEY (scopes route and reward), BANDITD_POLICY (default),
BANDITD_TIMEOUT_S (0.5: longest wait for a decision), BANDITD_PAUSE_S (5: how long it is not asked after it was away).
"""

import asyncio
import hashlib
import logging
import os
import re
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from litellm.integrations.custom_logger import CustomLogger

logger = logging.getLogger("banditd_hook")
MARK = "banditd_request"
MAX_TURNS = 10_000
MAX_LABEL = 256
BEFORE = ("regenerated_from", "escalated_from", "parent_decision_id")
OF_TASK = ("task_id", "step")
DECISION_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# By the end of LiteLLM's exception names; what is not here is banditd's to understand by the status.
ERRORS = {
    "ContextWindowExceededError": "context", "ContentPolicyViolationError": "policy", "AuthenticationError": "auth",
    "PermissionDeniedError": "auth", "RateLimitError": "overload", "Timeout": "timeout", "BadRequestError": "request",
    "APIConnectionError": "transport", "ServiceUnavailableError": "overload",
}  # fmt: skip


@dataclass
class Turn:
    """One request to the proxy: its decision, and the calls that were made for it.

    brought : the decision is the client's own, and LiteLLM chooses among the deployments that it asked for.
    """

    decision: dict[str, Any] | None = None
    brought: bool = False
    reference: str | None = None
    before: dict[str, str] = field(default_factory=dict)
    calling: str | None = None
    began_s: float = 0.0
    attempts: list[dict[str, Any]] = field(default_factory=list)


class BanditdHook(CustomLogger):
    """Register one instance as a callback of the proxy."""

    def __init__(self) -> None:
        super().__init__()
        self.url = os.environ.get("BANDITD_URL", "http://127.0.0.1:8484").rstrip("/")
        self.policy = os.environ.get("BANDITD_POLICY", "default")
        self.timeout_s = float(os.environ.get("BANDITD_TIMEOUT_S", "0.5"))
        self.pause_s = float(os.environ.get("BANDITD_PAUSE_S", "5"))
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._away_until_s = 0.0
        self._session: aiohttp.ClientSession | None = None
        self._reports: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ LiteLLM calls these

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):  # type: ignore[no-untyped-def]
        """Mark the request, so that its attempts are known as one turn."""
        mark = str(uuid.uuid4())
        given = _decision_in(data, "decision_id")
        decision = None if given is None else {"decision_id": given}
        before = {name: one for name in BEFORE if (one := _decision_in(data, name)) is not None}
        before |= {name: one for name in OF_TASK if (one := _label(_said(data, name))) is not None}
        self._turns[mark] = Turn(decision, given is not None, _reference_of(data), before)
        data["metadata"] = {**_mapping(data.get("metadata")), MARK: mark}
        while len(self._turns) > MAX_TURNS:
            self._turns.popitem(last=False)
        return data

    async def async_filter_deployments(  # type: ignore[no-untyped-def]
        self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
    ):
        """The chosen deployment alone; after a failure the next of its order. All of them without banditd."""
        arms = {arm: one for one in healthy_deployments if (arm := _arm_of(one)) is not None}
        turn = self._turn(request_kwargs)
        if turn is not None and turn.brought:
            turn.began_s = time.monotonic()
            return healthy_deployments
        if turn is None or not arms or not messages:
            return healthy_deployments
        if turn.decision is None:
            turn.decision = await self._route(messages, sorted(arms), turn)
        if turn.decision is None:
            return healthy_deployments
        failed = {attempt["arm"] for attempt in turn.attempts}
        order = [turn.decision["arm"], *turn.decision.get("fallbacks", [])]
        chosen = next((arm for arm in order if arm in arms and arm not in failed), None)
        chosen = chosen or next((arm for arm in order if arm in arms), None)
        if chosen is None:
            return healthy_deployments
        turn.calling, turn.began_s = chosen, time.monotonic()
        return [arms[chosen]]

    async def async_post_call_failure_deployment_hook(  # type: ignore[no-untyped-def]
        self, request_data, exception, call_type, fallback_depth=None
    ):
        """One call has failed; LiteLLM may make another."""
        turn = self._turn(request_data)
        if turn is not None and turn.brought:
            turn.calling = _deployed(request_data)
        self._failed(turn, exception)

    async def async_post_call_failure_hook(  # type: ignore[no-untyped-def]
        self, request_data, original_exception, user_api_key_dict, traceback_str=None
    ):
        """The whole request has failed."""
        turn = self._turn(request_data, forget=True)
        self._failed(turn, original_exception)
        self._report(turn)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):  # type: ignore[no-untyped-def]
        """It was answered; of a stream this comes after its end, with the usage of the whole."""
        turn = self._turn(kwargs.get("litellm_params"), forget=True)
        if turn is not None and turn.brought:
            turn.calling = _deployed(kwargs.get("litellm_params"))
        if turn is None or turn.calling is None:
            return
        usage = getattr(response_obj, "usage", None)
        details = getattr(usage, "prompt_tokens_details", None)
        first = kwargs.get("completion_start_time")
        attempt: dict[str, Any] = {
            "arm": turn.calling,
            "latency_ms": max(0.0, (end_time - start_time).total_seconds() * 1e3),
            "input_tokens": getattr(usage, "prompt_tokens", None),
            "output_tokens": getattr(usage, "completion_tokens", None),
            "cached_input_tokens": getattr(details, "cached_tokens", None),
        }
        if kwargs.get("stream") and first is not None:
            attempt["first_token_ms"] = max(0.0, (first - start_time).total_seconds() * 1e3)
        turn.attempts.append({name: value for name, value in attempt.items() if value is not None})
        choices = getattr(response_obj, "choices", None) or []
        of_answer: dict[str, Any] = {"response_id": _label(getattr(response_obj, "id", None))}
        if choices:
            of_answer["finish_reason"] = _label(getattr(choices[0], "finish_reason", None))
        if any(getattr(getattr(one, "message", None), "refusal", None) for one in choices):
            of_answer["refusal"] = True
        self._report(turn, of_answer)

    async def async_post_call_response_headers_hook(  # type: ignore[no-untyped-def]
        self, data, user_api_key_dict, response, request_headers=None, litellm_call_info=None
    ):
        """The decision's id for whoever rewards it."""
        turn = self._turn(data)
        if turn is None or turn.decision is None:
            return None
        return {"x-banditd-decision-id": turn.decision["decision_id"], "x-banditd-arm": turn.calling or ""}

    # ------------------------------------------------------------ banditd

    async def _route(
        self, messages: list[dict[str, Any]], candidates: list[str], turn: Turn
    ) -> dict[str, Any] | None:
        if time.monotonic() < self._away_until_s:
            return None
        try:
            query = {"messages": messages, "policy": self.policy, "candidates": candidates}
            query |= turn.before
            query |= {"reference": turn.reference} if turn.reference is not None else {}
            return await self._post("/v1/route", query, self.timeout_s)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._away_until_s = time.monotonic() + self.pause_s
            logger.warning("banditd could not be asked (%s); LiteLLM chooses for %g s", error, self.pause_s)
        except (ValueError, TypeError, RecursionError) as error:  # this request's fault: others go on being routed
            logger.warning("banditd cannot route this request (%s); LiteLLM chooses for it", error)
        return None

    def _report(self, turn: Turn | None, of_answer: dict[str, Any] | None = None) -> None:
        """Sent again until banditd has it. It merges reports, so that one that came twice counts once."""
        if turn is None or turn.decision is None or not turn.attempts:
            return
        usage: dict[str, Any] = {"attempts": turn.attempts[-16:]}
        usage |= {name: value for name, value in (of_answer or {}).items() if value is not None}
        task = asyncio.get_running_loop().create_task(self._send(turn.decision["decision_id"], usage))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _send(self, decision_id: str, usage: dict[str, Any]) -> None:
        for wait_s in (0.2, 1.0, 5.0, None):
            try:
                await self._post(f"/v1/decisions/{decision_id}/usage", usage, 10.0)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if wait_s is None:
                    logger.warning("usage of %s was not reported: %s", decision_id, error)
                    return
                await asyncio.sleep(wait_s)
            else:
                return

    async def _post(self, path: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if self._session is None or self._session.closed:
            key = os.environ.get("BANDITD_KEY")
            self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"} if key else None)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with self._session.post(self.url + path, json=body, timeout=timeout) as answer:
            if answer.status >= 400:
                problem = f"{answer.status} {(await answer.text())[:300]}"
                raise OSError(problem) if answer.status >= 500 or answer.status == 429 else ValueError(problem)
            found: dict[str, Any] = await answer.json()
            return found

    # ------------------------------------------------------------ turns

    def _turn(self, data: Any, *, forget: bool = False) -> Turn | None:
        for name in ("metadata", "litellm_metadata"):
            mark = _mapping(_mapping(data).get(name)).get(MARK)
            if isinstance(mark, str) and mark in self._turns:
                return self._turns.pop(mark) if forget else self._turns[mark]
        return None

    def _failed(self, turn: Turn | None, error: BaseException) -> None:
        if turn is None or turn.calling is None:
            return
        arm, turn.calling = turn.calling, None
        kind = next((known for name, known in ERRORS.items() if type(error).__name__ == name), "server")
        attempt = {"arm": arm, "error": kind, "latency_ms": (time.monotonic() - turn.began_s) * 1e3}
        turn.attempts.append(attempt)


def _mapping(value: Any) -> dict[str, Any]:
    """What clients send under ``metadata`` may be anything: what is no mapping says nothing."""
    return value if isinstance(value, dict) else {}


def _arm_of(deployment: dict[str, Any]) -> str | None:
    arm = _mapping(deployment.get("model_info")).get("banditd_arm")
    return None if arm is None else str(arm)


def _deployed(call: Any) -> str | None:
    """The arm that a call went to: its deployment's, else the name of its group."""
    call = _mapping(call)
    places = [_mapping(call.get(name)) for name in ("metadata", "litellm_metadata")]
    arm = next((arm for place in (call, *places) if (arm := _arm_of(place)) is not None), None)
    return arm or next((str(place["model_group"]) for place in places if place.get("model_group")), None)


def _stated(data: dict[str, Any], header: str, name: str) -> Any:
    """What the client says in a header, or in its metadata."""
    headers = _mapping(data.get("proxy_server_request")).get("headers") or {}
    places = (_mapping(data.get("metadata")), _mapping(data.get("litellm_metadata")))
    return headers.get(header) or next((place[name] for place in places if place.get(name)), None)


def _said(data: dict[str, Any], name: str) -> Any:
    """What the client says to banditd under a name of its."""
    return _stated(data, f"x-banditd-{name.replace('_', '-')}", f"banditd_{name}")


def _decision_in(data: dict[str, Any], name: str) -> str | None:
    """The id of a decision that the client names."""
    stated = str(_said(data, name)).lower()
    return stated if DECISION_ID.fullmatch(stated) else None


def _reference_of(data: dict[str, Any]) -> str | None:
    """As the client says, else the id of its trace as Langfuse knows it: 32 hexadecimal digits, made of any other."""
    if stated := _label(_stated(data, "x-banditd-reference", "banditd_reference")):
        return stated
    own = getattr(data.get("litellm_logging_obj"), "litellm_trace_id", None) or data.get("litellm_call_id")
    metadata = _mapping(data.get("metadata")) or _mapping(data.get("litellm_metadata"))
    trace = metadata.get("existing_trace_id") or metadata.get("trace_id") or own
    if trace is None:
        return None
    plain = str(trace).lower().replace("-", "")
    return plain if re.fullmatch("[0-9a-f]{32}", plain) else hashlib.sha256(str(trace).encode()).digest()[:16].hex()


def _label(value: Any) -> str | None:
    """A text that banditd takes for an id."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_LABEL else None


hook = BanditdHook()
