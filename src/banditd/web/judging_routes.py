"""The routes of judges."""

from __future__ import annotations

from typing import Final

from banditd.web.api import Route
from banditd.web.handlers import judging
from banditd.web.problems import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE
from banditd.web.route_parts import BODY, id_of, look
from banditd.web.schemas import comparisons as pairs
from banditd.web.schemas import judging as schemas

_TASK: Final = id_of("The task's id.")
_PROBLEMS: Final = (*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE)

JUDGING_ROUTES: Final[tuple[Route, ...]] = (
    look(
        "/v1/judges", judging.get, "listJudges",
        "What judges have done, what it cost, and whether their verdicts count",
        answers={200: schemas.JudgesAnswer}, problems=(UNAVAILABLE,),
    ),
    Route(
        method="POST", path="/v1/judge-tasks/lease", handler=judging.lease, operation="leaseJudgeTasks",
        summary="Claim answers to score, for a judge that you call yourself", tag="rewards", scope="judge",
        body=schemas.JudgeLeaseRequest, answers={200: schemas.JudgeLeaseAnswer}, problems=_PROBLEMS,
    ),
    Route(
        method="POST", path="/v1/judge-tasks/{id}/result", handler=judging.result, operation="judgeResult",
        summary="Hand in the score of a claimed task, or give it back", tag="rewards", scope="judge",
        path_parameters=_TASK, body=schemas.JudgeResultRequest, answers={200: schemas.JudgeResultAnswer},
        problems=_PROBLEMS,
    ),
    look(
        "/v1/comparisons", judging.comparisons, "listComparisons",
        "Which of two answers judges preferred, newest decisions first",
        parameters=pairs.ComparisonParameters, answers={200: pairs.ComparisonsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/comparisons/lease", handler=judging.lease_pairs, operation="leaseComparisons",
        summary="Claim pairs of answers to compare, for a judge that you call yourself", tag="rewards",
        scope="judge", body=schemas.JudgeLeaseRequest, answers={200: pairs.ComparisonLeaseAnswer},
        problems=_PROBLEMS,
    ),
    Route(
        method="POST", path="/v1/comparisons", handler=judging.compare, operation="compare",
        summary="Hand in which answer of a claimed pair is better, in both orders, or give it back", tag="rewards",
        scope="judge", body=pairs.ComparisonRequest, answers={200: pairs.ComparisonResultAnswer},
        problems=_PROBLEMS,
    ),
)  # fmt: skip
