"""``Client``: the daemon for programs without asyncio."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from banditd.client import calls
from banditd.client.answers import ArmView, Decision, RewardReceipt, TaskReceipt, UsageReceipt
from banditd.client.calls import Call, Json, Query, Value
from banditd.client.http import BlockingTransport
from banditd.client.retries import Retries
from banditd.client.turn import Turn
from banditd.core.errors import BanditdError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
logger = logging.getLogger(__name__)
DEFAULT_URL = "http://127.0.0.1:8484"


class Client:
    """Safe to share between threads. Close it, or use it as a context manager.

    Parameters
    ----------
    url : address of the daemon.
    api_key : a key with the scopes ``route`` and ``reward`` (and ``read``, ``admin`` for what needs them).
    policy : which policy decides, unless a query says otherwise.
    source : who rewards, unless a reward says otherwise: human, judge, metric, implicit or one of yours.
    timeout_s : seconds that one try may take.
    retries : when to ask again; four tries by default, ``NO_RETRIES`` for one.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        policy: str = "default",
        source: str = "human",
        timeout_s: float = 10.0,
        retries: Retries | None = None,
    ) -> None:
        self._transport = BlockingTransport(
            url, api_key=api_key, timeout_s=timeout_s, retries=Retries() if retries is None else retries
        )
        self._policy = policy
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        query: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Any call of ``docs/http.md``, for what has no method here. Returns the parsed JSON.

        Raises
        ------
        RefusedError : a status of 400 or above, as the kind of it that ``client.errors`` draws.
        UnavailableError : no answer, or not in time, after the last try.
        """
        return self._transport.call(method, path, body=body, query=query, headers=headers)

    def route(self, query: Query, **options: Json) -> Decision:
        """Ask which arm should answer.

        Parameters
        ----------
        query : a text, messages as for chat completions, or an embedding.
        options : any other field of ``POST /v1/route``, such as ``max_cost_usd=0.01`` or ``session_id="s-1"``.

        It is decided and charged once, however often it has to be sent. Where your program may repeat the call, after
        a crash say, give ``client.call`` an ``Idempotency-Key`` of your own.
        """
        return self._run(calls.route(query, {"policy": self._policy, **options}))

    def reward(
        self,
        decision_id: str | None = None,
        value: Value | None = None,
        *,
        source: str | None = None,
        metric: str = "quality",
        metadata: Mapping[str, Json] | None = None,
        idempotency_key: str | None = None,
        replace: bool = False,
        reference: str | None = None,
        arm: str | None = None,
    ) -> RewardReceipt:
        """Reward a decision: a number on the scale of its source, ``"up"`` or ``"down"``.

        Each call is one reward, however often it has to be sent: its idempotency key is made once, unless you
        give your own. ``replace=True`` instead makes it the only word of this source on this metric.

        ``reference`` instead of the decision's id: what the query was called by, or the id of the upstream's answer.
        ``arm``: whose answer it is about, where another arm's than the one that served would have earned it.
        """
        return self._run(
            calls.reward(
                decision_id,
                value,
                source=source or self._source,
                metric=metric,
                metadata=metadata,
                idempotency_key=idempotency_key,
                replace=replace,
                reference=reference,
                arm=arm,
            )
        )

    def reward_task(
        self,
        task_id: str,
        value: Value,
        *,
        source: str | None = None,
        metric: str = "quality",
        metadata: Mapping[str, Json] | None = None,
    ) -> TaskReceipt:
        """Reward a whole task: its decisions that have no reward of their own share it, each with its part of the
        weight. Another value of the same source on the same metric replaces it.
        """
        of_source = source or self._source
        return self._run(calls.reward_task(task_id, value, source=of_source, metric=metric, metadata=metadata))

    def retract(self, reward_id: str) -> RewardReceipt:
        """Take a reward back by the ``reward_id`` of its receipt; what it taught is unlearned."""
        return self._run(calls.retract(reward_id))

    def usage(self, decision_id: str, **report: Json) -> UsageReceipt:
        """Report what a decision used: ``input_tokens``, ``cached_input_tokens``, ``output_tokens``,
        ``cost_usd``, ``latency_ms``, ``error``, ``finish_reason``, ``response_id``, ``served_arm``, ``attempts``,
        ``refusal``, ``output_chars``, ``regenerated_from``, ``escalated_to``.

        Reports of a decision are merged: later ones complete or correct what earlier ones said.
        """
        return self._run(calls.usage(decision_id, report))

    def activate(self, decision_id: str) -> bool:
        """Release the rewards of a decision made with ``defer_activation=True``. False when it was active."""
        return self._run(calls.activate(decision_id))

    def abandon(self, decision_id: str) -> bool:
        """Say that a decision was never served: its estimate is released and nothing is learned of it. False when it
        was abandoned already. Raises WriteConflictError once it has a reward.
        """
        return self._run(calls.abandon(decision_id))

    def arms(self, policy: str | None = None) -> list[ArmView]:
        """The arms of a policy."""
        return self._run(calls.arms(policy or self._policy))

    @contextmanager
    def turn(self, query: Query, *, source: str | None = None, **options: Json) -> Iterator[Turn]:
        """Route, let the block call the model, then report latency, usage, failure and rewards.

        What cannot be sent at the end is logged and kept in ``turn.failures``: the answer that you have is
        worth more than the report of it.
        """
        turn = Turn(self.route(query, **options), source=source or self._source)
        try:
            yield turn
        except Exception as error:
            self._send(turn, turn.close(error))
            raise
        self._send(turn, turn.close())

    def routed(
        self,
        *,
        query: Callable[..., Query] | None = None,
        reward: Callable[[Any], Value | None] | None = None,
        source: str | None = None,
        **options: Json,
    ) -> Callable[[Callable[Concatenate[Turn, P], R]], Callable[P, R]]:
        """Decorate a function that calls a model: its first parameter becomes the turn, which callers leave out.

        Parameters
        ----------
        query : makes the query of the arguments; by default the first argument is it.
        reward : makes the reward of the result; None for no reward.
        source, options : as for ``turn``.
        """

        def decorate(function: Callable[Concatenate[Turn, P], R]) -> Callable[P, R]:
            @functools.wraps(function)
            def routed(*args: P.args, **kwargs: P.kwargs) -> R:
                requested = first_argument(args, kwargs) if query is None else query(*args, **kwargs)
                with self.turn(requested, source=source, **options) as turn:
                    result = function(turn, *args, **kwargs)
                    note_reward(turn, reward, result)
                return result

            return routed

        return decorate

    def _run(self, call: Call[T]) -> T:
        return call.read(
            self._transport.call(call.method, call.path, body=call.body, query=call.query, headers=call.headers)
        )

    def _send(self, turn: Turn, notes: list[Call[Any]]) -> None:
        for note in notes:
            try:
                self._run(note)
            except BanditdError as error:
                report_failure(turn, note, error)


def first_argument(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Query:
    """The query of a decorated call. Raises TypeError when there is no argument to take."""
    if args:
        return args[0]  # type: ignore[no-any-return]  # what it is not, the daemon will say
    if kwargs:
        return next(iter(kwargs.values()))  # type: ignore[no-any-return]
    raise TypeError("a routed function needs an argument to route by; or give routed(query=...)")


def note_reward(turn: Turn, reward: Callable[[Any], Value | None] | None, result: object) -> None:
    """Note what ``reward`` makes of a result; the clock stops before it thinks."""
    if reward is None:
        return
    turn.stop_clock()
    value = reward(result)
    if value is not None:
        turn.reward(value)


def report_failure(turn: Turn, note: Call[Any], error: BanditdError) -> None:
    """Keep and log what could not be sent."""
    turn.failures.append(error)
    logger.warning("%s %s was not recorded: %s", note.method, note.path, error.message, extra={"code": error.code})
