"""Switches of policies: promise, rollout and mode, from the file and as patched since.

Differences from the file are stored, take precedence over it, and apply on every replica, which polls for them
(``refresh``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

from banditd.core.errors import BanditdError, ConflictError, InvalidInputError
from banditd.deciding.keeper import PromiseRule
from banditd.ports import Clock, StoredSwitches, SwitchStore
from banditd.services.policy import PolicyRuntime, PolicySwitches, runtime_of

logger = logging.getLogger(__name__)
PROMISE: Final = "promise"
UNWEIGHED: Final = frozenset({"fixed", "rules", "uniform"})
_FIELDS: Final = tuple(field.name for field in fields(PromiseRule))


class Switching:
    """Reads and changes the switches of every policy."""

    def __init__(self, *, runtimes: Mapping[str, PolicyRuntime], store: SwitchStore, clock: Clock) -> None:
        self._runtimes = runtimes
        self._store = store
        self._clock = clock
        self._seen: dict[str, StoredSwitches] = {}

    async def refresh(self) -> None:
        """Adopt the stored switches."""
        stored = await self.stored()
        for name in self._runtimes:
            self.adopt(name, stored.get(name, StoredSwitches()))

    async def stored(self) -> Mapping[str, StoredSwitches]:
        """The stored switches, by policy."""
        return await self._store.load()

    def adopt(self, policy: str, stored: StoredSwitches, *, anew: bool = False) -> None:
        """Put stored switches into force.

        anew : even if they were seen before, because the policy's other settings have changed.
        """
        runtime, before = self._runtimes[policy], self._seen.get(policy)
        if before is not None and (before.updated_at_us, not anew) >= (stored.updated_at_us, True):
            return  # seen before, or older than a change made here
        self._seen[runtime.name] = stored
        try:
            switches = switched(runtime.config.switches, stored.changes)
            check_switches(runtime, switches)
        except BanditdError as error:
            logger.warning("policy.switches_unusable", extra={"policy": runtime.name, "error": error.message})
            switches = _without_promise(runtime.config.switches, stored.changes)
        if switches != runtime.switches:
            runtime.switches = switches
            logger.info("policy.switched", extra={"policy": runtime.name, "switches": differences(runtime)})

    async def change(self, policy: str, changes: Mapping[str, object]) -> None:
        """Change switches, durably, from the next decision on.

        changes : ``rollout``, ``mode``, ``promise`` (a mapping of its changed fields; None: no promise).

        Raises
        ------
        NotFoundError : no such policy. InvalidInputError : switches that cannot be kept; nothing is changed.
        """
        runtime = runtime_of(self._runtimes, policy)
        configured = runtime.config.switches

        def work(stored: Mapping[str, object]) -> Mapping[str, object]:
            now = _or_configured(configured, stored)
            wanted = _changed(now, changes, configured)
            if PROMISE in changes:
                check_switches(runtime, wanted)
            return _to_store(configured, wanted)

        self.adopt(policy, await self._store.change(policy, work, self._clock.now_us()))


def differences(runtime: PolicyRuntime) -> dict[str, dict[str, object]]:
    """Where switches differ from the file: dotted name -> ``configured`` and ``stored`` values."""
    then, now = _flat(runtime.config.switches), _flat(runtime.switches)
    return {
        name: {"configured": then.get(name), "stored": now.get(name)}
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    }


def switched(configured: PolicySwitches, changes: Mapping[str, object]) -> PolicySwitches:
    """The configured switches with the stored changes. Raises InvalidInputError if these cannot be read."""
    known: dict[str, Any] = {name: changes[name] for name in ("rollout", "mode") if name in changes}
    if PROMISE in changes:
        known[PROMISE] = _rule(changes[PROMISE])
    return replace(configured, **known)


def check_switches(runtime: PolicyRuntime, switches: PolicySwitches) -> None:
    """Refuse switches that cannot be kept. Raises InvalidInputError."""
    config, promise = runtime.config, switches.promise
    if promise is None:
        return
    if config.cost_weight > 0.0:
        raise _refused(
            f"policy {config.name} has cost_weight: {config.cost_weight:g}, and a promise finds the price of money "
            "itself; set cost_weight: 0 in the configuration first",
            "",
        )
    if config.settings.kind in UNWEIGHED:
        raise _refused(f"a policy of kind {config.settings.kind} weighs no cost, so it can keep no promise", "")
    arms = {arm.arm: arm for arm in runtime.arms}
    if promise.baseline == "dearest" or not arms:
        return
    arm = arms.get(promise.baseline)
    if arm is None:
        raise _refused(
            f"policy {config.name} has no arm {promise.baseline}; write dearest, or one of {', '.join(arms)}",
            "/baseline",
        )
    if arm.recipe is not None:
        raise _refused(f"{arm.arm} is a recipe: a baseline is the one model that you would use instead", "/baseline")
    if arm.max_share < 1.0:
        raise _refused(
            f"{arm.arm} has max_share {arm.max_share:g}: a baseline must be able to answer everything", "/baseline"
        )


def check_deletion(runtime: PolicyRuntime, arm: str) -> None:
    """Refuse to delete the arm that answers what is held back from the policy. Raises ConflictError."""
    switches = runtime.switches
    shadow = switches.mode == "shadow"
    if switches.baseline != arm or (switches.rollout >= 1.0 and not shadow):
        return
    why = "mode: shadow lets it alone answer" if shadow else f"rollout {switches.rollout:g} leaves the rest to it"
    raise ConflictError(
        f"{arm} is the baseline, and {why}: without it the policy would answer every query. First name another "
        f'(PATCH /v1/promise?policy={runtime.name} {{"baseline": "dearest"}}), or give the policy all traffic '
        f'(PATCH /v1/policies/{runtime.name} {{"rollout": 1, "mode": "route"}}).',
        code="ARM_IS_BASELINE",
        field="/arm",
    )


def _refused(message: str, field: str) -> InvalidInputError:
    return InvalidInputError(message, code="PROMISE_IMPOSSIBLE", field=f"/promise{field}")


def _or_configured(configured: PolicySwitches, stored: Mapping[str, object]) -> PolicySwitches:
    try:
        return switched(configured, stored)
    except BanditdError:
        return _without_promise(configured, stored)


def _without_promise(configured: PolicySwitches, stored: Mapping[str, object]) -> PolicySwitches:
    """The stored switches without their promise: rollout and mode, the emergency exits, hold in any case."""
    return switched(configured, {name: value for name, value in stored.items() if name != PROMISE})


def _changed(now: PolicySwitches, changes: Mapping[str, object], configured: PolicySwitches) -> PolicySwitches:
    """The switches after a change. A promise that had been removed starts from the configured one."""
    known: dict[str, Any] = {name: value for name, value in changes.items() if name in {"rollout", "mode"}}
    if PROMISE in changes:
        wanted = changes[PROMISE]
        before = asdict(now.promise or configured.promise or PromiseRule())
        known[PROMISE] = None if wanted is None else _rule(before | _mapping(wanted))
    return replace(now, **known)


def _to_store(configured: PolicySwitches, wanted: PolicySwitches) -> dict[str, object]:
    """The part of ``wanted`` that differs from the file and so is stored."""
    found: dict[str, object] = {
        name: getattr(wanted, name)
        for name in ("rollout", "mode")
        if getattr(wanted, name) != getattr(configured, name)
    }
    if wanted.promise != configured.promise:
        found[PROMISE] = None if wanted.promise is None else asdict(wanted.promise)
    return found


def _rule(value: object) -> PromiseRule | None:
    if value is None:
        return None
    given = {name: one for name, one in _mapping(value).items() if name in _FIELDS}
    try:
        return PromiseRule(**given)
    except TypeError as error:
        raise _refused(f"the stored promise cannot be read: {error}", "") from error


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _refused('a promise is an object such as {"keep": 0.95, "baseline": "dearest"}', "")
    return dict(value)


def _flat(switches: PolicySwitches) -> dict[str, object]:
    found: dict[str, object] = {"rollout": switches.rollout, "mode": switches.mode}
    if switches.promise is None:
        return found | {PROMISE: None}
    return found | {f"{PROMISE}.{name}": value for name, value in asdict(switches.promise).items()}
