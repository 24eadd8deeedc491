"""One routed call of a model: what was decided, and the notes that are sent when it is over.

Pure bookkeeping with a clock; the clients open and close it and do the sending.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from banditd.client.answers import Decision
from banditd.client.calls import Call, Value
from banditd.client.calls import reward as reward_call
from banditd.client.calls import usage as usage_call
from banditd.client.observing import Tally, tell_uncounted, watch
from banditd.core.errors import BanditdError

Json = Any
T = TypeVar("T")
MAX_ERROR_CHARS = 64
logger = logging.getLogger(__name__)


class Turn:
    """What happens between a decision and its reward.

    ``usage``, ``observe``, ``served`` and ``reward`` take notes; leaving the ``with`` block sends them, rewards
    last. The clock runs from the decision to the first ``observe`` or ``usage``, else to the end of the block.
    When the block fails before the model has answered, the failure is reported: it opens the arm's breaker after
    some in a row and teaches no quality. A block that is stopped from outside (a cancelled task, Ctrl-C) sends
    nothing. ``failures`` holds what could not be sent; ``first_token_ms`` is the time to the first token of a stream.
    """

    def __init__(self, decision: Decision, *, source: str) -> None:
        self.decision = decision
        self.failures: list[BanditdError] = []
        self.first_token_ms: float | None = None
        self._source = source
        self._started_s = time.perf_counter()
        self._latency_ms: float | None = None
        self._usage: dict[str, Json] = {}
        self._attempts: list[dict[str, Json]] = []
        self._served_arm: str | None = None
        self._rewards: list[Call[Any]] = []
        self._closed = False

    @property
    def model(self) -> str:
        """The name to call the model by."""
        return self.decision.model

    @property
    def arm(self) -> str:
        return self.decision.arm

    @property
    def recipe(self) -> Mapping[str, Json] | None:
        """What the arm is made of; None: it is a model."""
        return self.decision.raw.get("recipe")

    @property
    def decision_id(self) -> str:
        return self.decision.decision_id

    def usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        cost_usd: float | None = None,
        latency_ms: float | None = None,
        error: str | None = None,
        finish_reason: str | None = None,
        response_id: str | None = None,
        refusal: bool | None = None,
        output_chars: int | None = None,
    ) -> None:
        """Note what the call used, and of the answer; stops the clock, unless ``latency_ms`` says better."""
        self.stop_clock()
        self._note(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=cached_input_tokens,
            cost_usd=cost_usd,
            latency_ms=latency_ms,
            error=error,
            finish_reason=finish_reason,
            response_id=response_id,
            refusal=refusal,
            output_chars=output_chars,
        )

    def escalated(self, to: str) -> None:
        """Note that the answer was not enough, and who took over: a decision's id, or a word such as ``human``."""
        self._note(escalated_to=to)

    def observe(self, answer: T) -> T:
        """Note tokens, finish reason and latency of a model's answer, and give it back.

        answer : a chat completion, a message of Anthropic or a response of OpenAI's Responses, as an object or JSON;
        or a stream of one. A stream comes back wrapped, works as before, and is noted when it has been read to its
        end or is closed: the latency is that of the whole answer, ``first_token_ms`` that of its first token.
        """
        observed: T = watch(answer, self._first_token, self._observed)
        return observed

    def play(self, call: Callable[[str], T]) -> T:
        """Call the model that was decided for, or play the recipe, and give the answer that counts.

        call : takes a model's name and gives its whole answer (a text, or what ``observe`` takes, but no stream); of
        a recipe it runs in threads, several at once. Every call is noted with its tokens and latency.

        Raises what ``call`` raises, of a recipe where nobody has answered.
        """
        if self.recipe is None:
            return self.observe(call(self.model))
        from banditd.client.playing import Run, play  # noqa: PLC0415 - its rules need numpy

        run = Run(self.arm, self.recipe)
        try:
            play(run, call)
            answer: T = run.answer()
            self.stop_clock()
            return answer
        finally:
            self._note(attempts=run.attempts, **run.fields)

    async def play_async(self, call: Callable[[str], Awaitable[T]]) -> T:
        """The same with a coroutine function; several calls are tasks."""
        if self.recipe is None:
            return self.observe(await call(self.model))
        from banditd.client.playing import Run, play_async  # noqa: PLC0415 - its rules need numpy

        run = Run(self.arm, self.recipe)
        try:
            await play_async(run, call)
            answer: T = run.answer()
            self.stop_clock()
            return answer
        finally:
            self._note(attempts=run.attempts, **run.fields)

    def _first_token(self) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = self._elapsed_ms()

    def _observed(self, tally: Tally) -> None:
        if self._closed:
            logger.warning("a stream was read after its turn had ended: its tokens are not recorded; read it inside")
            return
        if not tally.counted:
            tell_uncounted()
        self.usage(**tally.fields)

    def served(self, arm: str) -> None:
        """Note that another arm answered (a fallback): the reward teaches that one."""
        self._open()
        self._served_arm = arm

    def attempt(
        self,
        arm: str,
        error: str,
        *,
        latency_ms: float | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cost_usd: float | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Note a call that failed before another one answered, or before none did: its arm's breaker hears of it.

        error : ``transport``, ``timeout``, ``overload``, ``server``, ``auth``, ``request``, ``context``, ``policy``,
        ``client_gone``, or words of your own. retry_after_s : how long an overloaded upstream asked to be left alone.
        """
        self._open()
        stated = {
            "arm": arm,
            "error": error[:MAX_ERROR_CHARS],
            "latency_ms": latency_ms,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost_usd,
            "retry_after_s": retry_after_s,
        }
        self._attempts.append({name: value for name, value in stated.items() if value is not None})

    def reward(
        self, value: Value, *, source: str | None = None, metric: str = "quality",
        metadata: Mapping[str, Json] | None = None, arm: str | None = None,
    ) -> None:  # fmt: skip
        """Note a reward: a number on the source's scale, ``"up"`` or ``"down"``. Sent at the end of the block.

        ``arm``: whose answer it is about, where not of the one that served (a shadow answer, say).
        """
        self._open()
        self._rewards.append(
            reward_call(
                self.decision_id,
                value,
                source=source or self._source,
                metric=metric,
                metadata=metadata,
                idempotency_key=None,
                replace=False,
                arm=arm,
            )
        )

    def close(self, failure: Exception | None = None) -> list[Call[Any]]:
        """End the turn. ``failure``: what ended the block. Returns what is to be sent, in order."""
        self._closed = True
        if not self.decision_id:
            return []  # a dry run: there is nothing to report on
        if failure is not None and self._latency_ms is None:
            self._usage["error"] = type(failure).__name__[:MAX_ERROR_CHARS]
        self.stop_clock()
        self._usage.setdefault("latency_ms", self._latency_ms)
        self._tell_who_served()
        return [usage_call(self.decision_id, self._usage), *self._rewards]

    def _tell_who_served(self) -> None:
        """Without failed attempts ``served_arm`` says all; with them the list ends with the one that answered."""
        if "attempts" in self._usage:  # a recipe's
            return
        if not self._attempts:
            self._usage |= {} if self._served_arm is None else {"served_arm": self._served_arm}
        elif "error" in self._usage:  # the block failed in the end: nobody answered
            last = {"arm": self._served_arm or self.arm, "error": self._usage.pop("error")}
            reported = {one["arm"] for one in self._attempts}
            self._usage["attempts"] = [*self._attempts, *([] if last["arm"] in reported else [last])]
        else:
            self._usage["attempts"] = [*self._attempts, {"arm": self._served_arm or self.arm}]

    def _note(self, **fields: Json) -> None:
        self._open()
        self._usage.update({name: value for name, value in fields.items() if value is not None})

    def stop_clock(self) -> None:
        """The model has answered: what comes now (judging, say) is not its latency."""
        if self._latency_ms is None:
            self._latency_ms = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started_s) * 1e3

    def _open(self) -> None:
        if self._closed:
            raise RuntimeError(
                "this turn is over and its notes are sent; later rewards go through client.reward(decision_id, ...)"
            )
