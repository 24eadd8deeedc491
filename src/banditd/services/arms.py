"""Managing arms at run time: add, change, delete, read. The statistics of other arms are not affected.

Choosing among arms is in ``routing``, learning in ``learner``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from banditd.core.errors import InvalidInputError, NotFoundError, OutcomeUnknownError, StorageUnavailableError
from banditd.core.request_keys import RequestKey
from banditd.core.types import Arm, ArmUsage, Price
from banditd.deciding.recipe_arms import check_recipe
from banditd.deciding.view import is_onboarding
from banditd.ports import ArmChange, ArmStore, Clock
from banditd.services.arm_differences import ARM_FIELDS
from banditd.services.policy import PolicyRuntime, runtime_of
from banditd.services.promising.switching import check_deletion

logger = logging.getLogger(__name__)
PATCHABLE = frozenset(ARM_FIELDS)
# The graduation report of an arm that never had an onboarding quota.
NO_QUOTA: Mapping[str, object] = dict.fromkeys(
    ("state", "rewards", "reward", "incumbents", "difference", "clusters", "recommendation")
)


async def _ignore_disabled(policy: str, arm: str) -> None:
    """Used when no release has to be told about disabled arms."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArmView:
    """An arm with everything known about it.

    statistics : rewards, mean reward with its interval, shares.
    price_history : (since, price), oldest first, since in microseconds since the epoch.
    onboarding : how much of its quota a new arm has used, and the outcome (``services.reports.onboarding``).
    duplicate : the same request was made before under the same key; ``arm`` is as that request left it.
    """

    arm: Arm
    usage: ArmUsage
    statistics: Mapping[str, object] = dataclasses.field(default_factory=dict)
    price_history: Sequence[tuple[int, Price]] = ()
    onboarding: Mapping[str, object] = dataclasses.field(default_factory=dict)
    duplicate: bool = False


class ArmService:
    """The catalogue of arms of every policy."""

    def __init__(
        self,
        *,
        runtimes: Mapping[str, PolicyRuntime],
        store: ArmStore,
        clock: Clock,
        upstreams: Sequence[str],
        changed: Callable[[], Awaitable[None]],
        statistics: Callable[[str], Awaitable[Mapping[str, Mapping[str, object]]]],
        graduation: Callable[
            [str, Sequence[Arm], Mapping[str, ArmUsage], str | None], Awaitable[Mapping[str, Mapping[str, object]]]
        ],
    ) -> None:
        self._runtimes = runtimes
        self._store = store
        self._clock = clock
        self._upstreams = upstreams
        self._changed = changed
        self.disabled: Callable[[str, str], Awaitable[None]] = (
            _ignore_disabled  # called with every arm that is disabled
        )
        self._statistics = statistics
        self._graduation = graduation

    async def list(self, policy: str, of: str | None = None) -> list[ArmView]:
        """Every arm of a policy (or only the one named ``of``) with usage and statistics.

        Raises NotFoundError for an unknown policy.
        """
        self._require_policy(policy)
        arms = await self._store.arms(policy)
        usage = await self._store.usage(policy)
        statistics = await self._statistics(policy)
        graduation = await self._graduation(policy, arms, usage, of)
        histories = await self._store.price_histories(policy)
        first = min((a.created_at_us for a in arms), default=0)
        return [
            _view(
                arm,
                usage.get(arm.arm),
                statistics.get(arm.arm, {}),
                histories.get(arm.arm, ()),
                graduation.get(arm.arm, NO_QUOTA),
                first,
            )
            for arm in arms
            if of in {None, arm.arm}
        ]

    async def positions(self, policy: str) -> Mapping[str, int]:
        """The permanent position of every arm that the policy ever had; it is never reused."""
        self._require_policy(policy)
        return await self._store.positions(policy)

    async def get(self, policy: str, arm: str) -> ArmView:
        """One arm. Raises NotFoundError."""
        for view in await self.list(policy, arm):
            return view
        raise _unknown_arm(policy, arm)

    async def add(self, arm: Arm, key: RequestKey | None = None, *, anew: bool = True) -> ArmView:
        """Add an arm; it can be routed to when this returns. Raises ConflictError, NotFoundError (policy).

        key : of the request; a repeat under the same key adds nothing.
        anew : what to do with the name of a deleted arm. True: a new arm that has learned nothing. False: the deleted
        one continues.
        """
        self._require_policy(arm.policy)
        self._require_upstream(arm.upstream)
        now_us = self._clock.now_us()
        made = dataclasses.replace(arm, created_at_us=now_us, updated_at_us=now_us)
        return await self._stored(*await self._store.add(made, _check_new, key, anew=anew))

    async def patch(
        self,
        policy: str,
        arm: str,
        changes: Mapping[str, object],
        *,
        price_from_us: int | None = None,
        key: RequestKey | None = None,
    ) -> ArmView:
        """Change fields of an arm. A new price applies from the next decision on, or from ``price_from_us``.

        Fields not in ``changes`` keep their present values, even if others change them meanwhile. ``price`` is a
        ``Price``, or a mapping of its changed fields.

        Raises
        ------
        NotFoundError : no such policy or arm. InvalidInputError : a field that cannot be changed, contradictory
        shares, or a price that would begin in the past.
        """
        self._require_policy(policy)
        unknown = sorted(set(changes) - PATCHABLE)
        if unknown:
            raise InvalidInputError(
                f"cannot change {', '.join(unknown)}; changeable: {', '.join(sorted(PATCHABLE))}",
                field=f"/{unknown[0]}",
            )
        self._require_upstream(changes.get("upstream"))
        if changes.get("max_share", 1.0) != 1.0:
            self._require_no_baseline(policy, arm)
        price = changes.get("price")
        plain: dict[str, Any] = {name: value for name, value in changes.items() if name != "price"}
        now_us = self._clock.now_us()

        def revise(current: Arm, arms: Sequence[Arm]) -> ArmChange:
            values, later = dict(plain), None
            _check_same_recipe(current, values)
            if price is not None and price_from_us is not None:
                if price_from_us <= now_us:
                    raise InvalidInputError(
                        "a price cannot begin in the past, since what was charged stays charged; "
                        "leave valid_from out to start now",
                        field="/price/valid_from",
                    )
                later = _price_of(price, current), price_from_us
            elif price is not None:
                values["price"] = _price_of(price, current)
            if not values and current.recipe is None:
                return ArmChange(current, later)
            # Later than the version it changes, or the price history would end with the older of the two.
            changed_at_us = max(now_us, current.updated_at_us + 1)
            changed = dataclasses.replace(current, **values, updated_at_us=changed_at_us)
            priced = changed if later is None else dataclasses.replace(changed, price=later[0])
            check_recipe(priced, arms, parts=False)
            check_shares(changed, arms)
            return ArmChange(changed, later)

        view = await self._stored(*await self._store.update(policy, arm, revise, key, at_us=now_us))
        if changes.get("enabled") is False:
            await self.disabled(policy, arm)
        return view

    async def _stored(self, arm: Arm, duplicate: bool) -> ArmView:
        """An arm as a change left it; for a repeated request, as the first one left it."""
        with _stored_already():
            if not duplicate:
                await self._changed()
                return await self.get(arm.policy, arm.arm)
            statistics = await self._statistics(arm.policy)
            usage = (await self._store.usage(arm.policy)).get(arm.arm)
            prices = (await self._store.price_histories(arm.policy)).get(arm.arm, ())
        view = _view(arm, usage, statistics.get(arm.arm, {}), prices, NO_QUOTA, arm.created_at_us)
        return dataclasses.replace(view, duplicate=True)

    async def delete(self, policy: str, arm: str, key: RequestKey | None = None) -> bool:
        """Remove an arm from routing for good; its decisions and statistics stay.

        Returns whether the same request, under ``key``, was already carried out. Raises NotFoundError, and
        ConflictError for the baseline of a rollout or of shadow mode.
        """
        check = partial(check_deletion, runtime_of(self._runtimes, policy))
        duplicate = await self._store.delete(policy, arm, self._clock.now_us(), key, check)
        if not duplicate:
            with _stored_already():
                await self._changed()
        return duplicate

    async def seed(self, policy: str, arms: Sequence[Arm]) -> int:
        """Create the configured arms that this database has never seen. Returns how many.

        An arm that was changed or deleted over the API stays so: the database is authoritative.
        """
        return await self._store.seed(policy, arms, self._clock.now_us())

    async def adopt_due_prices(self) -> None:
        """Apply scheduled prices whose time has come."""
        due = await self._store.adopt_due_prices(self._clock.now_us())
        for policy, arm in due:
            logger.info("arm.price_due", extra={"policy": policy, "arm": arm})
        if due:
            await self._changed()

    def _require_policy(self, policy: str) -> None:
        runtime_of(self._runtimes, policy)

    def _require_no_baseline(self, policy: str, arm: str) -> None:
        """Refuse a cap for the promise's baseline: that arm could then never be chosen as the baseline again."""
        promise = self._runtimes[policy].switches.promise
        if promise is not None and promise.baseline == arm:
            raise InvalidInputError(
                f"{arm} is the baseline of {policy}'s promise, which must be able to answer everything; name another "
                "with PATCH /v1/promise first",
                field="/max_share",
            )

    def _require_upstream(self, upstream: object) -> None:
        if upstream is not None and upstream not in self._upstreams:
            raise InvalidInputError(
                f"there is no upstream {upstream}: the configuration names {', '.join(self._upstreams) or 'none'}; "
                "URLs come from there only",
                code="UPSTREAM_UNKNOWN",
                field="/upstream",
            )


@contextmanager
def _stored_already() -> Iterator[None]:
    """From here on the change is committed: a database failure must not look as if nothing had been stored."""
    try:
        yield
    except StorageUnavailableError as error:
        raise OutcomeUnknownError(
            "The change of the arm is stored, but the database did not answer when the arm was read back. Read the "
            "arm, or send the same request with the same Idempotency-Key again: nothing is changed twice.",
            retry_after_s=error.retry_after_s,
        ) from error


def _view(
    arm: Arm,
    usage: ArmUsage | None,
    statistics: Mapping[str, object],
    price_history: Sequence[tuple[int, Price]],
    graduation: Mapping[str, object],
    first_us: int,
) -> ArmView:
    used = usage or ArmUsage(arm=arm.arm)
    return ArmView(
        arm=arm,
        usage=used,
        statistics=statistics,
        price_history=price_history,
        onboarding={
            "active": arm.enabled and is_onboarding(arm, usage, first_us),
            "decisions": min(used.decisions, arm.onboarding_decisions),
            "decisions_quota": arm.onboarding_decisions,
            "cost_usd": used.cost_usd,
            "cost_usd_quota": arm.onboarding_usd,
            **graduation,
        },
    )


def _check_same_recipe(current: Arm, values: Mapping[str, Any]) -> None:
    if values.get("recipe", current.recipe) != current.recipe:
        raise InvalidInputError(
            f"what {current.arm} is made of cannot change, because the log and the statistics belong to it. Delete "
            "it, and add the other recipe under a new name",
            code="RECIPE_FIXED",
            field="/recipe",
        )


def _check_new(arm: Arm, arms: Sequence[Arm]) -> None:
    check_recipe(arm, arms)
    check_shares(arm, arms)


def check_shares(arm: Arm, arms: Sequence[Arm]) -> None:
    """Refuse shares that contradict each other. Raises InvalidInputError."""
    if arm.min_share > arm.max_share:
        raise InvalidInputError(
            f"min_share {arm.min_share:g} is above max_share {arm.max_share:g}", field="/min_share"
        )
    others = [other for other in arms if other.arm != arm.arm and other.enabled]
    least = sum(other.min_share for other in others) + arm.min_share * arm.enabled
    if arm.enabled and arm.min_share > 0.0 and least > 1.0 + 1e-12:
        raise InvalidInputError(
            f"the enabled arms' min_share would add up to {least:g}; the sum may be at most 1",
            field="/min_share",
        )
    capped = [*others, arm] if arm.enabled else others
    most = sum(other.max_share for other in capped)
    if arm.max_share < 1.0 and capped and most < 1.0 - 1e-12:
        raise InvalidInputError(
            f"the enabled arms' max_share would add up to {most:g}, so no arm could answer the rest of the traffic; "
            "raise one, or enable another arm first",
            field="/max_share",
        )


def _price_of(requested: object, current: Arm) -> Price:
    if isinstance(requested, Price):
        return requested
    given: Any = requested
    return dataclasses.replace(current.price, **given)


def _unknown_arm(policy: str, arm: str) -> NotFoundError:
    return NotFoundError(f"policy {policy} has no arm {arm}", code="ARM_UNKNOWN", field="/arm")
