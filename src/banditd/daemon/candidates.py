"""Floor 6: candidates are checked by the very code that checks a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from banditd.core.types import Arm
from banditd.daemon.workbench import Workbench
from banditd.jobs.scheduler import Job
from banditd.services.arm_differences import nested, plain_fields
from banditd.services.candidates.applying import SettingsCheck
from banditd.services.candidates.cases import CasePlay
from banditd.services.candidates.evaluating import EvaluationService
from banditd.services.candidates.service import CandidateService
from banditd.services.candidates.shadowing import Shadowing
from banditd.services.candidates.shadows import ShadowDesk
from banditd.services.learning.folding import contribution_of
from banditd.services.promising.book import PromiseBook
from banditd.settings import PolicySettingsSection, Settings

_OURS = "Value error, "


EVALUATIONS_S = 5.0  # between two looks for what another replica has left


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidating:
    """Candidates, and what the log says of them."""

    candidates: CandidateService
    evaluations: EvaluationService

    @property
    def job(self) -> Job:
        """What is asked here begins at once; this finds what nobody works on."""
        return Job(name="evaluations", run=self.evaluations.run, interval_s=EVALUATIONS_S, everywhere=True)


def make_shadowing(bench: Workbench) -> Shadowing:
    """What the learner counts of shadowed candidates."""
    storage = bench.storage
    return Shadowing(
        store=storage.shadows, log=storage.whole_log, recent=storage.recent, clock=bench.clock,
        contribution_of=contribution_of,
    )  # fmt: skip


def make_candidates(
    settings: Settings, bench: Workbench, books: Mapping[str, PromiseBook], counting: Shadowing
) -> Candidating:
    """Those of every configured policy."""
    storage = bench.storage
    shadows = ShadowDesk(store=storage.shadows, log=storage.whole_log, counting=counting, clock=bench.clock)
    candidates = CandidateService(
        runtimes=bench.runtimes,
        store=storage.candidates,
        check=settings_check(settings),
        clock=bench.clock,
        shadows=shadows,
    )
    evaluations = EvaluationService(
        runtimes=bench.runtimes,
        candidates=candidates,
        store=storage.evaluations,
        log=storage.whole_log,
        learning=bench.learning,
        recent=storage.recent,
        clock=bench.clock,
        play=lambda runtime, rule: CasePlay(runtime, books[runtime.name], bench.encoder, rule, storage.recent),
    )
    return Candidating(candidates=candidates, evaluations=evaluations)


def settings_check(settings: Settings) -> SettingsCheck:
    """What the configuration of a policy would refuse."""

    def check(policy: str, stated: Mapping[str, object], arms: Sequence[Arm]) -> list[tuple[str, str]]:
        section = settings.policies[policy].model_dump(by_alias=True)
        if stated["promise"] is None:
            # As where it is switched off: a query with such a profile is refused then, with the reason.
            for profile in section["profiles"].values():
                profile["keep"] = None
        listed = [{"arm": arm.arm, **nested(plain_fields(dataclasses.asdict(arm)))} for arm in arms]
        try:
            PolicySettingsSection.model_validate(section | dict(stated) | {"arms": listed})
        except ValidationError as error:
            return [(_pointer(one["loc"], arms), one["msg"].removeprefix(_OURS)) for one in error.errors()]
        return []

    return check


def _pointer(loc: Sequence[int | str], arms: Sequence[Arm]) -> str:
    """Where in the candidate: under its arms by name, or among its settings."""
    place = list(map(str, loc))
    if len(place) > 1 and place[0] == "arms":
        return "/".join(["/arms", arms[int(place[1])].arm, *place[2:]])
    return "/".join(["/settings", *place])
