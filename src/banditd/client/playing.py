"""Playing a recipe with a client's own calls: whom to ask, whose answer counts, and the attempts to report.

The rules are the daemon's (``deciding.playing``): the gateway and a client play the same recipe alike.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from banditd.client.observing import Tally
from banditd.core.recipes import Recipe
from banditd.deciding.playing import ModelAnswer, Play
from banditd.ports.upstreams import Surface
from banditd.services.gateway.answers import answer_of

T = TypeVar("T")
Json = Any
_MAX_ERROR_CHARS: Final = 64
_TOKENS: Final = ("input_tokens", "output_tokens", "cached_input_tokens")


class Run:
    """One run of a recipe as ``POST /v1/route`` hands it out."""

    def __init__(self, arm: str, recipe: Mapping[str, Json]) -> None:
        parts = [*recipe["members"], *([] if recipe["else"] is None else [recipe["else"]])]
        self._models = {part["arm"]: part["upstream_model"] for part in parts}
        members = tuple(part["arm"] for part in recipe["members"])
        otherwise = None if recipe["else"] is None else recipe["else"]["arm"]
        self._play = Play(
            Recipe(arm=arm, kind=recipe["kind"], members=members, otherwise=otherwise, answers=recipe["answers"])
        )
        self._attempts: dict[str, dict[str, Json]] = {}
        self._tallies: dict[str, Tally] = {}
        self._given: dict[str, Any] = {}
        self._failure: Exception | None = None

    def waiting(self) -> list[tuple[str, str]]:
        """(arm, model) of whom to ask now, all at once; nobody at the end."""
        return [(arm, self._models[arm]) for arm in self._play.ask()]

    def answered(self, arm: str, given: Any, began_s: float) -> None:
        """An arm has answered."""
        self._tallies[arm] = tally = Tally()
        tally.add(given)
        tokens = {name: value for name, value in tally.fields.items() if name in _TOKENS}
        self._note(arm, began_s, **tokens)
        self._given[arm] = given
        self._play.put(arm, _read(given))

    def failed(self, arm: str, error: Exception, began_s: float) -> None:
        """The call of an arm has failed."""
        self._failure = error
        self._note(arm, began_s, error=type(error).__name__[:_MAX_ERROR_CHARS])
        self._play.put(arm, None)

    @property
    def attempts(self) -> list[dict[str, Json]]:
        """Every call, the one whose answer counts last."""
        return sorted(self._attempts.values(), key=lambda one: one["arm"] == self._play.chosen)

    @property
    def fields(self) -> Mapping[str, Json]:
        """What is known of the answer that counts beside its tokens."""
        tally = self._tallies.get(self._play.chosen or "")
        known = {} if tally is None else tally.fields
        return {name: value for name, value in known.items() if name not in _TOKENS}

    def answer(self) -> Any:
        """The answer that counts, as it was given. Raises the last failure where nobody has answered."""
        if self._play.chosen is None:
            raise self._failure or RuntimeError("nobody was asked")
        return self._given[self._play.chosen]

    def _note(self, arm: str, began_s: float, **more: Json) -> None:
        self._attempts[arm] = {"arm": arm, "latency_ms": (time.perf_counter() - began_s) * 1e3, **more}


def play(run: Run, call: Callable[[str], T]) -> None:
    """Ask until it is known whose answer counts; calls that are made at once are made in threads."""

    def one(arm: str, model: str) -> None:
        began_s = time.perf_counter()
        try:
            given = call(model)
        except Exception as error:  # whatever it is, this one did not answer
            run.failed(arm, error, began_s)
        else:
            run.answered(arm, given, began_s)

    with ThreadPoolExecutor(max_workers=8) as pool:
        while waiting := run.waiting():
            for done in [pool.submit(one, arm, model) for arm, model in waiting]:
                done.result()


async def play_async(run: Run, call: Callable[[str], Awaitable[T]]) -> None:
    """The same in tasks; who is cancelled cancels all of them."""

    async def one(arm: str, model: str) -> None:
        began_s = time.perf_counter()
        try:
            given = await call(model)
        except Exception as error:  # whatever it is, this one did not answer
            run.failed(arm, error, began_s)
        else:
            run.answered(arm, given, began_s)

    while waiting := run.waiting():
        async with asyncio.TaskGroup() as group:
            for arm, model in waiting:
                group.create_task(one(arm, model))


def _read(given: Any) -> ModelAnswer:
    """What an answer says: a text, or a chat completion, message or response, as JSON or as the library's object."""
    if isinstance(given, str):
        return ModelAnswer(given)
    dump = getattr(given, "model_dump", None)
    stated = given if isinstance(given, Mapping) else dump() if callable(dump) else {}
    surface: Surface = "responses" if "output" in stated else "chat" if "choices" in stated else "messages"
    return answer_of(surface, stated)
