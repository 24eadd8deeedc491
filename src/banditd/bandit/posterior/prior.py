"""What was learned from an earlier log, as a value that a policy can start from: a warm start. Reads no files.

Sums are additive, so a warm start is an addition: the prior's sums, scaled to the number of rewards they should be
worth, are added to an arm's own sums wherever those are used. They belong to no epoch, are not forgotten with time
(only with an arm that changed, like its oldest evidence), and are never stored with the learner's state, so folding
the log again stays exact. Source: the scaling of offline sums to an effective number of rewards (n_eff) is that of
ParetoBandit's warm start, here over all arms together.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from banditd.bandit.posterior.hyperparameters import (
    BIAS_SHARED,
    GROUP_SHARED,
    NOISE_START,
    Hyperparameters,
    expected_own,
)
from banditd.bandit.posterior.statistics import ArmSums
from banditd.core.errors import ConfigurationError, InvariantError
from banditd.core.types import FeatureSchema

KIND: Final = "banditd-prior"
FORMAT: Final = 1
# n_eff of forgetting factor .997 and an adaptation time of 500 rewards: (.997^-500 - 1) / .003.
MOST_WORTH: Final = 1164.0
# Under forgetting the evidence cannot grow without limit; a prior that is not forgotten must not outweigh it.
SHARE_OF_LIMIT: Final = 0.25
SCALES_WORTH: Final = 20.0  # rewards at which fitted scales count half; before them a policy fits none


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prior:
    """Sums per arm and the scales that were fitted on them.

    schema_hash : of the feature schema; sums mean nothing under another one.
    arms : name -> sums, to be read only. hyperparameters : JSON of ``Hyperparameters``.
    source : where it came from, in words.
    """

    schema_hash: str
    arms: Mapping[str, ArmSums]
    hyperparameters: str
    source: str = ""

    @property
    def rewards(self) -> float:
        """Effective number of rewards over all arms."""
        return math.fsum(sums.n for sums in self.arms.values())

    def rescaled(self, worth: float | None = None, *, half_life: float | None = None) -> Prior:
        """The same beliefs, as certain as after ``worth`` rewards over all arms together.

        The fitted scales are trusted less, too, if it is worth less than it was made from; otherwise a small noise
        variance would let one reward decide.

        Parameters
        ----------
        worth : > 0, or None for ``default_worth``. half_life : of the policy's forgetting, in rewarded decisions.

        Raises
        ------
        ConfigurationError : not a positive number.
        """
        wanted = self.default_worth(half_life) if worth is None else worth
        if not (math.isfinite(wanted) and wanted > 0.0):
            raise ConfigurationError(f"A prior is worth a positive number of rewards, got {worth}.")
        factor = wanted / self.rewards
        arms = {}
        for name, sums in self.arms.items():
            scaled = sums.copy()
            scaled.rescale(factor)
            arms[name] = scaled
        share = min(1.0, factor * (self.rewards + SCALES_WORTH) / (wanted + SCALES_WORTH))
        return replace(self, arms=arms, hyperparameters=_softened(self.hyperparameters, share))

    def default_worth(self, half_life: float | None = None) -> float:
        """The number of rewards that it was made from, at most ``MOST_WORTH``.

        Under forgetting also at most ``SHARE_OF_LIMIT`` of half_life / log 2, the limit of the log's own evidence:
        what is forgotten must be able to outweigh what is not.
        """
        limit = MOST_WORTH if half_life is None else min(MOST_WORTH, SHARE_OF_LIMIT * half_life / math.log(2.0))
        return min(self.rewards, limit)

    def check(self, schema: FeatureSchema) -> None:
        """Refuse a prior that was made under another feature schema.

        Raises
        ------
        ConfigurationError : says what differs.
        """
        if self.schema_hash != schema.hash:
            raise ConfigurationError(
                f"The prior{_named(self.source)} belongs to feature schema {self.schema_hash}, this policy has "
                f"{schema.hash}: make it again with the same encoder, feature maps and caller features."
            )
        if any(sums.n_features != schema.n_features for sums in self.arms.values()):
            raise ConfigurationError(f"The prior{_named(self.source)} has sums of another number of features.")
        try:
            Hyperparameters.from_json(self.hyperparameters, schema)
        except (InvariantError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"The prior{_named(self.source)} has no usable hyperparameters.") from error

    def to_json(self) -> str:
        """Versioned, checksummed text: the prior file."""
        content: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "source": self.source,
            "schema_hash": self.schema_hash,
            "rewards": self.rewards,
            "hyperparameters": json.loads(self.hyperparameters),
            "arms": [
                {"arm": name, "rewards": sums.n, "sums": base64.b64encode(sums.pack()).decode("ascii")}
                for name, sums in sorted(self.arms.items())
            ],
        }
        return json.dumps(content | {"sha256": _digest(content)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Prior:
        """Inverse of ``to_json``.

        Raises
        ------
        ConfigurationError : not a prior file, another format, or damaged.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ConfigurationError("This is not a prior file: it is not JSON.") from error
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise ConfigurationError(f"This is not a prior file: its kind is not {KIND}.")
        if content.get("format") != FORMAT:
            raise ConfigurationError(
                f"The prior file has format {content.get('format')!r}, this banditd reads {FORMAT}."
            )
        if content.pop("sha256", None) != _digest(content):
            raise ConfigurationError("The prior file is damaged or was edited: its checksum does not match.")
        try:
            prior = cls(
                schema_hash=str(content["schema_hash"]),
                arms={str(arm["arm"]): ArmSums.unpack(base64.b64decode(arm["sums"])) for arm in content["arms"]},
                hyperparameters=Hyperparameters(**content["hyperparameters"]).to_json(),
                source=str(content["source"]),
            )
        except (KeyError, TypeError, binascii.Error, InvariantError) as error:
            raise ConfigurationError("The prior file lacks a part or has a wrong one; make it again.") from error
        if not prior.rewards > 0.0:
            raise ConfigurationError("The prior file holds no rewards: there is nothing to start from.")
        return prior


def first_scales(schema: FeatureSchema, prior: Prior | None) -> Hyperparameters:
    """The scales fitted with the prior, or those assumed before any data."""
    if prior is None:
        return Hyperparameters.start(schema)
    prior.check(schema)
    return Hyperparameters.from_json(prior.hyperparameters, schema)


def _softened(hyperparameters: str, share: float) -> str:
    """Scales and noises between those assumed before any data (share 0) and the fitted ones (1), on a log scale."""
    if share == 1.0:
        return hyperparameters
    values = json.loads(hyperparameters)
    shared = {name: BIAS_SHARED if name == "bias" else GROUP_SHARED for name in values["shared"]}
    own = expected_own(shared)
    assumed: dict[str, Mapping[str, float]] = {
        "shared": shared,
        "own": own,
        "averaged": own,
        "noise": dict.fromkeys(values["noise"], NOISE_START),
    }
    for part, start in assumed.items():
        values[part] = {name: start[name] ** (1.0 - share) * fitted**share for name, fitted in values[part].items()}
    values["common_noise"] = NOISE_START ** (1.0 - share) * values["common_noise"] ** share
    return json.dumps(values)


def _named(source: str) -> str:
    return f" ({source})" if source else ""


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
