"""Keeps anchors off the request path: follows stored changes and, as the learner's leader, takes anchors when due.

An anchor is taken when a policy has none and has learned something, and when a release was promoted or a promotion
undone: in both cases the deciding policy has been approved. Otherwise an operator renews it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from banditd.bandit.state import PolicyState
from banditd.core.anchor import FIRST_REWARDS, Anchor, AnchorState, Taking
from banditd.core.errors import BanditdError, ConflictError
from banditd.core.pace import Pace
from banditd.ports import Clock
from banditd.ports.anchors import AnchorStore
from banditd.services.anchoring.book import AnchorBook
from banditd.services.anchoring.freezing import Held, frozen_of, held_by
from banditd.services.loop import Loop
from banditd.services.policy import PolicyRuntime, runtime_of

logger = logging.getLogger(__name__)
EVERY_S: Final = 2.0


class Leader(Protocol):
    """What an anchor needs from the learner."""

    @property
    def leader(self) -> bool: ...


class Releases(Protocol):
    """Releases take precedence over anchors."""

    def open(self, policy: str) -> object | None:
        """The release that this replica follows, or None."""

    def promoted(self, policy: str) -> Sequence[str]:
        """The releases promoted in a policy, oldest first, as this replica knows them."""


class AnchorKeeping:
    """Maintains the anchor books. Call ``start`` after every runtime has a snapshot. releases : None until set."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        books: Mapping[str, AnchorBook],
        store: AnchorStore,
        learner: Leader,
        clock: Clock,
    ) -> None:
        self._runtimes = runtimes
        self._books = books
        self._store = store
        self._learner = learner
        self.releases: Releases | None = None
        self._clock = clock
        self._states: dict[str, AnchorState] = {}
        self._made: dict[str, object] = {}
        self._busy = asyncio.Lock()
        self._loop = Loop(self.step, name="anchors", every_s=EVERY_S, log=(logger, "anchor"))

    def book(self, policy: str) -> AnchorBook:
        """The anchor book of a policy on this replica."""
        return self._books[policy]

    def decides(self, policy: str) -> bool:
        """Whether the anchor gets its part of the traffic now; an open release takes precedence."""
        released = self.releases is not None and self.releases.open(policy) is not None
        return not (released or self._books[policy].idle)

    async def start(self) -> None:
        """Adopt what is stored, and start; does nothing if no policy has an anchor."""
        if any(book.share > 0.0 for book in self._books.values()):
            await self._loop.once()
            self._loop.start()

    async def stop(self) -> None:
        """Stop after the present step."""
        await self._loop.stop()

    async def step(self) -> None:
        """Follow what is stored; as the leader, take anchors that are due."""
        async with self._busy:
            stored = await self._store.anchors()
            for name, book in self._books.items():
                if book.share <= 0.0:
                    continue
                anchor = stored.get(name)
                due = self._due(name, anchor)
                if due is not None and self._learner.leader:
                    with contextlib.suppress(ConflictError):  # another replica was faster
                        anchor = await self._take(name, anchor, reason=due, key_name=None)
                await self._follow(name, book, anchor)

    async def renew(self, policy: str, *, key_name: str | None, reason: str | None) -> Anchor:
        """Replace the policy's anchor by its present state. Raises NotFoundError, ConflictError."""
        runtime_of(self._runtimes, policy)
        book = self._books[policy]
        if book.share <= 0.0:
            raise ConflictError(
                f"policy {policy} has no anchor: set policies.{policy}.drift.anchor: {{share: 0.05}} first",
                code="ANCHOR_OFF",
            )
        async with self._busy:
            before = (await self._store.anchors()).get(policy)
            anchor = await self._take(policy, before, reason=reason, key_name=key_name)
            await self._follow(policy, book, anchor)
        return anchor

    def _due(self, name: str, anchor: Anchor | None) -> str | None:
        """Why an anchor should be taken, or None."""
        if anchor is None:
            return "first" if self._runtimes[name].learned.folded >= FIRST_REWARDS else None
        newest = self._newest(name)
        if newest == anchor.promotion:
            return None
        return "a promotion was taken back" if newest is None else f"release {newest} was promoted"

    def _newest(self, name: str) -> str | None:
        promoted = [] if self.releases is None else self.releases.promoted(name)
        return promoted[-1] if promoted else None

    async def _take(self, name: str, before: Anchor | None, *, reason: str | None, key_name: str | None) -> Anchor:
        runtime = self._runtimes[name]
        taking = Taking(
            at_us=self._clock.now_us(),
            frozen=frozen_of(runtime),
            reason=reason,
            key_name=key_name,
            promotion=self._newest(name),
        )
        instead_of = None if before is None else before.anchor_id
        anchor = await self._store.take(name, runtime.builder.schema.hash, taking, instead_of=instead_of)
        logger.info("anchor.taken", extra={"policy": name, "anchor_id": anchor.anchor_id, "reason": reason})
        return anchor

    # ---------------------------------------------------------------- following

    async def _follow(self, name: str, book: AnchorBook, anchor: Anchor | None) -> None:
        """Build the anchor's snapshot if it or the arms have changed."""
        runtime = self._runtimes[name]
        if anchor is None:
            book.leave(None)
            return
        arms = tuple((arm.arm, arm.generation, arm.enabled) for arm in runtime.arms)
        wanted = anchor.anchor_id, arms, runtime.view.snapshot.arms
        if self._made.get(name) == wanted:
            book.anchor = anchor
            return
        schema = runtime.builder.schema
        if anchor.schema_hash != schema.hash:
            problem: str | None = "the features have changed since it was taken: renew it"
        else:
            problem = await self._make(name, book, anchor)
        if problem is not None:
            if problem != book.problem:
                logger.warning("anchor.not_applicable", extra={"policy": name, "error": problem})
            book.leave(anchor, problem)
        self._made[name] = wanted

    async def _make(self, name: str, book: AnchorBook, anchor: Anchor) -> str | None:
        """Build it; returns the reason if that is not possible."""
        runtime, state = self._runtimes[name], self._states.get(name)
        try:
            if state is None or state.anchor.anchor_id != anchor.anchor_id:
                state = await self._store.load(anchor.anchor_id)
            if state is None:
                return "it has just been renewed"
            self._states[name] = state
            held: Held = held_by(state.frozen, runtime)
            found = PolicyState(schema=runtime.builder.schema, settings=held.settings, arms=held.priors)
            pieces = found.applying(
                state.segments,
                version=anchor.version,
                hyperparameters=state.hyperparameters,
                learner=state.learner,
            )
            await Pace().through(pieces)
            book.adopt(anchor, held, found.snapshot(version=found.version))
        except BanditdError as error:
            return error.message
        return None
