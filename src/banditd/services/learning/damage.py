"""Finds damaged rows in a policy's stored state, and what can be used instead. No I/O.

Segments carry a checksum; the two JSON texts of a state either parse or do not. If a state does not, the newest
snapshot that does takes its place, normally the very same state.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from banditd.bandit.policies.base import PolicySettings
from banditd.bandit.posterior.statistics import ArmSums
from banditd.bandit.state import PolicyState
from banditd.core.types import FeatureSchema
from banditd.ports import StoredLearning, StoredSegment


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A row that is not what was stored.

    table, row : which one; ``row`` identifies it.
    from_log : whether it can be restored from the log; if not, ``reason`` says what is lost.
    """

    table: str
    row: str
    reason: str
    from_log: bool


@dataclass(slots=True, kw_only=True)
class Examined:
    """The intact part of a stored state.

    whole : the state without its damaged parts; if the state does not parse, the newest snapshot's or an empty one.
    segments : (arm, epoch) of the damaged ones. snapshots : versions of the damaged ones.
    newest_version : of anything stored; the next version written must be higher.
    """

    whole: StoredLearning
    damages: list[Damage] = field(default_factory=list)
    segments: set[tuple[str, int]] = field(default_factory=set)
    snapshots: list[int] = field(default_factory=list)
    newest_version: int = 0


def examine(
    policy: str,
    schema: FeatureSchema,
    settings: PolicySettings,
    stored: StoredLearning,
    history: Sequence[Mapping[str, object]],
) -> Examined:
    """Check everything that is stored of a policy under a schema. ``history``: its snapshots, newest first."""
    found = Examined(whole=stored)
    own_history = [row for row in history if row["schema_hash"] == schema.hash]
    whole_segments = []
    for segment in stored.segments:
        reason = _why_not_sums(segment, schema)
        if reason is None:
            whole_segments.append(segment)
        else:
            found.segments.add((segment.arm, segment.epoch))
            place = f"policy {policy}, arm {segment.arm}, epoch {segment.epoch}"
            found.damages.append(Damage(table="segment", row=place, reason=reason, from_log=True))
    whole_snapshots = []
    for row in own_history:
        reason = _why_not_texts(row["hyperparameters"], row["learner"], schema, settings)
        if reason is None:
            whole_snapshots.append(row)
        else:
            found.snapshots.append(int(str(row["version"])))
            stated = f"policy {policy}, version {row['version']}"
            reason = f"{reason}; one point in the history of prior scales is lost"
            found.damages.append(Damage(table="snapshot", row=stated, reason=reason, from_log=False))
    found.whole = dataclasses.replace(stored, segments=tuple(whole_segments))
    versions = [stored.version, *(s.version for s in stored.segments), *(row["version"] for row in own_history)]
    found.newest_version = max((v for v in versions if isinstance(v, int)), default=0)
    _examine_state(policy, schema, settings, found, whole_snapshots)
    return found


def _examine_state(
    policy: str,
    schema: FeatureSchema,
    settings: PolicySettings,
    found: Examined,
    snapshots: Sequence[Mapping[str, object]],
) -> None:
    stored = found.whole
    reason = _why_not_state(stored, schema, settings)
    if reason is None and not stored.version and found.newest_version:
        reason = "the row is missing"
    if reason is None:
        return
    for row in snapshots:
        hyperparameters, learner = str(row["hyperparameters"]), str(row["learner"])
        if _why_not_texts(hyperparameters, learner, schema, settings) is None:
            version = int(str(row["version"]))
            lost = (
                "taken from the snapshot of the same version"
                if version == stored.version
                else f"taken from the snapshot of version {version}"
            )
            found.whole = dataclasses.replace(
                stored,
                version=version,
                epoch=int(str(row["epoch"])),
                hyperparameters=hyperparameters,
                learner=learner,
            )
            break
    else:
        lost = "no intact snapshot: prior scales are fitted again, and change detection restarts"
        found.whole = dataclasses.replace(stored, version=0, epoch=0, hyperparameters=None, learner=None)
    found.damages.append(
        Damage(table="learner_state", row=f"policy {policy}", reason=f"{reason}; {lost}", from_log=False)
    )


def _why_not_sums(segment: StoredSegment, schema: FeatureSchema) -> str | None:
    try:
        sums = ArmSums.unpack(segment.sums)
    except Exception as error:  # the row may contain anything
        return f"its sums cannot be read: {error}"
    if sums.n_features != schema.n_features:
        return f"its sums have {sums.n_features} features instead of {schema.n_features}"
    finite = np.isfinite(sums.gram).all() and np.isfinite([*sums.xr, sums.weight, sums.wr, sums.wrr, sums.n]).all()
    return None if finite else "its sums are not finite"


def _why_not_state(stored: StoredLearning, schema: FeatureSchema, settings: PolicySettings) -> str | None:
    if not isinstance(stored.version, int) or stored.version < 0:
        return f"its version is {stored.version!r}"
    if not isinstance(stored.epoch, int) or stored.epoch < 0:
        return f"its epoch is {stored.epoch!r}"
    if not stored.version and stored.hyperparameters is None and stored.learner is None:
        return None
    return _why_not_texts(stored.hyperparameters, stored.learner, schema, settings)


def _why_not_texts(
    hyperparameters: object, learner: object, schema: FeatureSchema, settings: PolicySettings
) -> str | None:
    for name, value in (("hyperparameters", hyperparameters), ("learner", learner)):
        if not isinstance(value, str):
            return f"its {name} are {type(value).__name__}, not text"
    try:
        json.dumps([json.loads(str(hyperparameters)), json.loads(str(learner))], allow_nan=False)
        PolicyState.restore(
            schema=schema,
            settings=settings,
            arms=[],
            version=0,
            hyperparameters=str(hyperparameters),
            learner=str(learner),
            segments=[],
        )
    except Exception as error:  # the text may be anything
        return f"it cannot be parsed ({type(error).__name__}: {error})"
    return None
