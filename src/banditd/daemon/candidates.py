"""Floor 6: candidates are checked by the very code that checks a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from banditd.core.types import Arm
from banditd.daemon.workbench import Workbench
from banditd.services.arm_differences import nested, plain_fields
from banditd.services.candidates.applying import SettingsCheck
from banditd.services.candidates.service import CandidateService
from banditd.settings import PolicySettingsSection, Settings

_OURS = "Value error, "


def make_candidates(settings: Settings, bench: Workbench) -> CandidateService:
    """The catalogue of candidates of every configured policy."""
    return CandidateService(
        runtimes=bench.runtimes,
        store=bench.storage.candidates,
        check=settings_check(settings),
        clock=bench.clock,
    )


def settings_check(settings: Settings) -> SettingsCheck:
    """What the configuration of a policy would refuse."""

    def check(policy: str, stated: Mapping[str, object], arms: Sequence[Arm]) -> list[tuple[str, str]]:
        section = settings.policies[policy].model_dump(by_alias=True)
        listed = [{"arm": arm.arm, **nested(plain_fields(dataclasses.asdict(arm)))} for arm in arms]
        try:
            PolicySettingsSection.model_validate(section | dict(stated) | {"arms": listed})
        except ValidationError as error:
            return [(_pointer(one, arms), one["msg"].removeprefix(_OURS)) for one in error.errors()]
        return []

    return check


def _pointer(detail: ErrorDetails, arms: Sequence[Arm]) -> str:
    """Where in the candidate: under its arms by name, or among its settings."""
    place = list(map(str, detail["loc"]))
    if len(place) > 1 and place[0] == "arms":
        return "/".join(["/arms", arms[int(place[1])].arm, *place[2:]])
    return "/".join(["/settings", *place])
