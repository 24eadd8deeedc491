"""Applies a candidate to its policy, and classifies and describes the difference."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from banditd.bandit.policies.registry import policy_factory
from banditd.core.candidate import ARM_FIELDS, OTHER_ARM_SUMS, OTHER_SUMS, SETTINGS, Candidate, CandidateClass
from banditd.core.errors import ConfigurationError, InvalidInputError
from banditd.core.types import Arm
from banditd.deciding.keeper import PromiseRule
from banditd.services.policy import PolicyConfig, PolicyRuntime

SettingsCheck = Callable[[str, Mapping[str, object], Sequence[Arm]], Sequence[tuple[str, str]]]
"""(policy, its settings by name, its arms) -> what the configuration would refuse, as (pointer, message)."""
MOST_CHARS: Final = 256
_ENABLED: Final = {True: "enabled", False: "disabled"}
NEW_ANSWERS: Final = frozenset({"params", "rename_params", "upstream_model"})
_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "kind": ((str,), "the name of a kind"),
    "options": ((dict,), "an object"),
    "exploration_floor": ((int, float), "a number"),
    "cost_weight": ((int, float), "a number"),
    "promise": ((dict, type(None)), "an object, or null for no promise"),
    "enabled": ((bool,), "true or false"),
    "min_share": ((int, float), "a number"),
    "max_share": ((int, float), "a number"),
    "params": ((dict,), "an object"),
    "rename_params": ((dict,), "an object"),
    "upstream_model": ((str,), f"a name of at most {MOST_CHARS} characters"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A policy with a candidate applied.

    config : includes the promise, among the switches.
    arms : same names and order as the policy's.
    difference : one entry for each change.
    """

    config: PolicyConfig
    arms: tuple[Arm, ...]
    candidate_class: CandidateClass
    difference: tuple[str, ...]

    @property
    def words(self) -> str:
        """The difference as a sentence."""
        if not self.difference:
            return "It does not differ from the present policy."
        same = "It decides otherwise from what the policy has learned"
        new = "; the log cannot say all of it, since it wants answers that were not to be had"
        return f"{same}{new if self.candidate_class == 'C' else ''}: {'; '.join(self.difference)}."


def apply_candidate(runtime: PolicyRuntime, candidate: Candidate, check: SettingsCheck | None = None) -> Applied:
    """Apply a candidate to the policy.

    check : of the result; None if it has been checked before.

    Raises
    ------
    InvalidInputError : something that no candidate can change, or that the policy's configuration would refuse.
    """
    _check_names(candidate.settings, "settings", SETTINGS)
    config = _config(runtime, candidate.settings)
    arms, new_answers = _arms(runtime, candidate.arms)
    if check is not None:
        now = replace(runtime.config, switches=runtime.switches)
        # Problems that the policy has without the candidate are not the candidate's.
        known = set(check(runtime.name, _stated(now), runtime.arms))
        for pointer, message in check(runtime.name, _stated(config), arms):
            if (pointer, message) not in known:
                raise InvalidInputError(message, code="CANDIDATE_IMPOSSIBLE", field=pointer)
    return Applied(
        config=config,
        arms=arms,
        candidate_class="C" if new_answers else "A",
        difference=(*_setting_words(runtime, config), *_arm_words(runtime.arms, arms)),
    )


def _stated(config: PolicyConfig) -> dict[str, object]:
    """The settings that a candidate may change, as the configuration states them."""
    promise = config.switches.promise
    return {
        "kind": config.settings.kind,
        "options": dict(config.settings.options),
        "exploration_floor": config.settings.floor,
        "cost_weight": config.cost_weight,
        "promise": None if promise is None else asdict(promise),
    }


def _check_names(given: Mapping[str, object], where: str, known: Sequence[str]) -> None:
    for name, value in given.items():
        field = f"/{where}/{name}"
        if name in OTHER_SUMS or name in OTHER_ARM_SUMS:
            raise InvalidInputError(
                f"{name} changes what is learned, but a candidate decides from what the policy has learned: try it "
                "with banditd replay, or as another policy next to this one",
                code="CANDIDATE_IMPOSSIBLE",
                field=field,
            )
        if name not in known:
            raise InvalidInputError(
                f"a candidate cannot change {name}; it can change {', '.join(known)}",
                code="CANDIDATE_IMPOSSIBLE",
                field=field,
            )
        types, named = _TYPES[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or not _is_sane(value):
            raise InvalidInputError(f"{name} is {named}", code="CANDIDATE_IMPOSSIBLE", field=field)


def _is_sane(value: object) -> bool:
    """Whether numbers fit into a float and names are valid names."""
    if isinstance(value, int):
        return abs(value) < 10**9
    return 0 < len(value) <= MOST_CHARS and value.isprintable() if isinstance(value, str) else True


def _config(runtime: PolicyRuntime, given: Mapping[str, Any]) -> PolicyConfig:
    config, settings = runtime.config, runtime.config.settings
    kind = given.get("kind", settings.kind)
    # Options belong to a kind.
    options = given.get("options", settings.options if kind == settings.kind else {})
    try:
        settings = replace(
            settings, kind=kind, options=dict(options), floor=float(given.get("exploration_floor", settings.floor))
        )
        policy_factory(settings)
    except ConfigurationError as error:
        field = {"/floor": "/exploration_floor"}.get(error.field or "", error.field or "")
        raise InvalidInputError(error.message, code="CANDIDATE_IMPOSSIBLE", field=f"/settings{field}") from error
    switches = runtime.switches
    if "promise" in given:
        switches = replace(switches, promise=_promise(switches.promise, given["promise"]))
    return replace(
        config,
        settings=settings,
        cost_weight=float(given.get("cost_weight", config.cost_weight)),
        switches=switches,
    )


def _promise(now: PromiseRule | None, wanted: Mapping[str, Any] | None) -> PromiseRule | None:
    if wanted is None:
        return None
    known = {one.name for one in dataclasses.fields(PromiseRule)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise InvalidInputError(
            f"a promise has no {unknown[0]}; it has {', '.join(sorted(known))}",
            code="CANDIDATE_IMPOSSIBLE",
            field=f"/settings/promise/{unknown[0]}",
        )
    for name, value in wanted.items():
        _check_promised(name, value)
    return replace(now or PromiseRule(), **wanted)


def _check_promised(name: str, value: object) -> None:
    """Refuse values that the configuration would convert, since a candidate is stored and applied as sent."""
    wrong: str | None = None
    if name == "baseline":
        wrong = None if isinstance(value, str) else "a name"
    elif name == "keep_by_tag":
        tags = value.values() if isinstance(value, Mapping) else [None]
        shares = [one for values in tags for one in (values.values() if isinstance(values, Mapping) else [None])]
        wrong = None if all(map(_is_number, shares)) else "an object of tags, each with its values and their numbers"
    elif not _is_number(value):
        wrong = "a number"
    if wrong is not None:
        raise InvalidInputError(
            f"promise.{name} is {wrong}", code="CANDIDATE_IMPOSSIBLE", field=f"/settings/promise/{name}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _arms(runtime: PolicyRuntime, given: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[Arm, ...], bool]:
    """(the arms, whether the candidate needs answers that the log cannot have)."""
    known = {arm.arm: arm for arm in runtime.arms}
    found, new_answers = dict(known), False
    for name, fields in given.items():
        arm = known.get(name)
        if arm is None:
            raise InvalidInputError(
                f"policy {runtime.name} has no arm {name}; add it with enabled: false first, and enable it in the "
                f"candidate. Its arms are {', '.join(known) or '(none)'}",
                code="ARM_UNKNOWN",
                field=f"/arms/{name}",
            )
        _check_names(fields, f"arms/{name}", ARM_FIELDS)
        shares = {field: float(value) for field, value in fields.items() if field in {"min_share", "max_share"}}
        found[name] = replace(arm, **{**fields, **shares})
        new_answers |= (found[name].enabled and not arm.enabled) or any(
            getattr(found[name], field) != getattr(arm, field) for field in NEW_ANSWERS
        )
    if runtime.arms and not any(arm.enabled for arm in found.values()):
        raise InvalidInputError(
            "no arm would be left to answer; leave one enabled", code="CANDIDATE_IMPOSSIBLE", field="/arms"
        )
    return tuple(found.values()), new_answers


def _setting_words(runtime: PolicyRuntime, config: PolicyConfig) -> list[str]:
    before, after = runtime.config, config
    words = [
        _changed(name, was, becomes)
        for name, was, becomes in (
            ("kind", before.settings.kind, after.settings.kind),
            ("options", dict(before.settings.options), dict(after.settings.options)),
            ("exploration_floor", before.settings.floor, after.settings.floor),
            ("cost_weight", before.cost_weight, after.cost_weight),
        )
        if was != becomes
    ]
    then, now = runtime.switches.promise, after.switches.promise
    if then is None and now is not None:
        words.append(f"promise: none -> keep {now.keep:g} of {now.baseline}")
    elif now is None and then is not None:
        words.append(f"promise: keep {then.keep:g} of {then.baseline} -> none")
    elif then is not None and now is not None:
        fields = [one.name for one in dataclasses.fields(PromiseRule)]
        pairs = [(name, getattr(then, name), getattr(now, name)) for name in fields]
        words += [_changed(f"promise.{name}", was, becomes) for name, was, becomes in pairs if was != becomes]
    return words


def _arm_words(before: Sequence[Arm], after: Sequence[Arm]) -> list[str]:
    words = []
    for was, becomes in zip(before, after, strict=True):
        for name in ARM_FIELDS:
            then, now = getattr(was, name), getattr(becomes, name)
            if name == "enabled" and then != now:
                words.append(f"arm {was.arm}: {_ENABLED[then]} -> {_ENABLED[now]}")
            elif then != now:
                words.append(_changed(f"arm {was.arm}: {name}", then, now))
    return words


def _changed(name: str, was: object, becomes: object) -> str:
    return f"{name}: {_text_of(was)} -> {_text_of(becomes)}"


def _text_of(value: object) -> str:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=dict)
