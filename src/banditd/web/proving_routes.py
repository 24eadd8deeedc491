"""The operations with which a change is proven before, during and after it is made."""

from __future__ import annotations

from typing import Final

from banditd.services.releasing.service import Verb
from banditd.web.api import BATCH_BODY, Route
from banditd.web.handlers import candidates, drift, judging, releases
from banditd.web.problems import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE
from banditd.web.route_parts import BODY, NAME, POLICY, id_of, look
from banditd.web.schemas import candidates as candidate_schemas
from banditd.web.schemas import comparisons as pairs
from banditd.web.schemas import drift as drift_schemas
from banditd.web.schemas import judging as judging_schemas
from banditd.web.schemas import releases as release_schemas

_CHANGE: Final = (*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE)
"""What may be wrong with a request that changes something."""

_ID: Final = id_of("The release's id.")
_WHAT: Final = {
    "promote": "Take the next step of a release; after the last one the candidate becomes the incumbent",
    "pause": "Stay at the step of a release; its tests go on",
    "resume": "Go on with a paused release",
    "abort": "End a release: all traffic is the incumbent's again",
}


def _verb(name: Verb) -> Route:
    model = release_schemas.ReleasePromotion if name == "promote" else release_schemas.ReleaseVerb
    return Route(
        method="POST", path=f"/v1/releases/{{id}}/{name}", handler=releases.verb(name), operation=f"{name}Release",
        summary=_WHAT[name], tag="releases", scope="admin", path_parameters=_ID, body=model, body_required=False,
        answers={200: release_schemas.ReleaseAnswer}, problems=_CHANGE,
    )  # fmt: skip


_RELEASE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path="/v1/releases", handler=releases.start, operation="startRelease",
        summary="Give a candidate a growing part of the traffic", tag="releases", scope="admin",
        body=release_schemas.ReleaseRequest, answers={201: release_schemas.ReleaseAnswer},
        problems=_CHANGE,
    ),
    look(
        "/v1/releases", releases.page, "listReleases", "Releases, newest first",
        tag="releases", parameters=release_schemas.ReleaseParameters, answers={200: release_schemas.ReleasesAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}", releases.get, "getRelease", "How a release stands",
        tag="releases", path_parameters=_ID, answers={200: release_schemas.ReleaseAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}/events", releases.events, "listReleaseEvents", "The history of a release",
        tag="releases", path_parameters=_ID, answers={200: release_schemas.ReleaseEventsAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/releases/{id}/points", releases.points, "listReleasePoints", "How a release stood, now and then",
        tag="releases", path_parameters=_ID, answers={200: release_schemas.ReleasePointsAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    _verb("promote"),
    _verb("pause"),
    _verb("resume"),
    _verb("abort"),
    Route(
        method="POST", path="/v1/policies/{policy}/rollback", handler=releases.roll_back,
        operation="rollBackPolicy", summary="Abort the open release, else take the newest promotion back",
        tag="releases", scope="admin", path_parameters=POLICY, body=release_schemas.ReleaseVerb, body_required=False,
        answers={200: release_schemas.RollbackAnswer}, problems=_CHANGE,
    ),
)  # fmt: skip


_CANDIDATE: Final = {**POLICY, "candidate": (NAME, "Name of the candidate.")}
_EVALUATION: Final = id_of("The evaluation's id.")
_PLACE: Final = "/v1/policies/{policy}/candidates"

_CANDIDATE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path=_PLACE, handler=candidates.create, operation="createCandidate",
        summary="Name a difference to the policy, to be evaluated or released", tag="candidates", scope="admin",
        path_parameters=POLICY, body=candidate_schemas.CandidateRequest,
        answers={200: candidate_schemas.CandidateAnswer, 201: candidate_schemas.CandidateAnswer},
        problems=_CHANGE,
    ),
    look(
        _PLACE, candidates.page, "listCandidates", "The candidates of a policy",
        tag="candidates", path_parameters=POLICY, answers={200: candidate_schemas.CandidatesAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        f"{_PLACE}/{{candidate}}", candidates.get, "getCandidate", "One candidate, beside the policy as it stands",
        tag="candidates", path_parameters=_CANDIDATE, answers={200: candidate_schemas.CandidateAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path=f"{_PLACE}/{{candidate}}", handler=candidates.patch, operation="shadowCandidate",
        summary="Count what a candidate would have drawn, beside the traffic; or stop", tag="candidates",
        scope="admin", path_parameters=_CANDIDATE, body=candidate_schemas.CandidatePatch,
        answers={200: candidate_schemas.CandidateAnswer}, problems=_CHANGE,
    ),
    Route(
        method="DELETE", path=f"{_PLACE}/{{candidate}}", handler=candidates.delete, operation="deleteCandidate",
        summary="Delete a candidate", tag="candidates", scope="admin", path_parameters=_CANDIDATE,
        answers={204: None}, problems=(NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/evaluations", handler=candidates.evaluate, operation="evaluate",
        summary="Ask the log, or cases with known scores, what a candidate would earn", tag="candidates",
        scope="admin", body=candidate_schemas.EvaluationRequest, takes=BATCH_BODY,
        answers={202: candidate_schemas.EvaluationAnswer}, problems=_CHANGE,
    ),
    look(
        "/v1/evaluations", candidates.evaluations, "listEvaluations", "Evaluations, newest first",
        tag="candidates", parameters=candidate_schemas.EvaluationParameters,
        answers={200: candidate_schemas.EvaluationsAnswer}, problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/evaluations/{id}", candidates.evaluation, "getEvaluation",
        "One evaluation: its phase, its figures, why, and what would settle it",
        tag="candidates", path_parameters=_EVALUATION, answers={200: candidate_schemas.EvaluationAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
)  # fmt: skip


_TASK: Final = id_of("The task's id.")

_JUDGING_ROUTES: Final[tuple[Route, ...]] = (
    look(
        "/v1/judges", judging.get, "listJudges",
        "What judges have done, what it cost, and whether their verdicts count",
        answers={200: judging_schemas.JudgesAnswer}, problems=(UNAVAILABLE,),
    ),
    Route(
        method="POST", path="/v1/judge-tasks/lease", handler=judging.lease, operation="leaseJudgeTasks",
        summary="Claim answers to score, for a judge that you call yourself", tag="rewards", scope="judge",
        body=judging_schemas.JudgeLeaseRequest, answers={200: judging_schemas.JudgeLeaseAnswer}, problems=_CHANGE,
    ),
    Route(
        method="POST", path="/v1/judge-tasks/{id}/result", handler=judging.result, operation="judgeResult",
        summary="Hand in the score of a claimed task, or give it back", tag="rewards", scope="judge",
        path_parameters=_TASK, body=judging_schemas.JudgeResultRequest,
        answers={200: judging_schemas.JudgeResultAnswer}, problems=_CHANGE,
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
        scope="judge", body=judging_schemas.JudgeLeaseRequest, answers={200: pairs.ComparisonLeaseAnswer},
        problems=_CHANGE,
    ),
    Route(
        method="POST", path="/v1/comparisons", handler=judging.compare, operation="compare",
        summary="Hand in which answer of a claimed pair is better, in both orders, or give it back", tag="rewards",
        scope="judge", body=pairs.ComparisonRequest, answers={200: pairs.ComparisonResultAnswer},
        problems=_CHANGE,
    ),
)  # fmt: skip


_DRIFT_ROUTES: Final[tuple[Route, ...]] = (
    look(
        "/v1/policies/{policy}/drift", drift.get, "getDrift", "Whether quality is slowly lost, and by which cause",
        path_parameters=POLICY, answers={200: drift_schemas.DriftAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/policies/{policy}/anchor/renew", handler=drift.renew, operation="renewAnchor",
        summary="Hold on to the policy as it stands now", tag="looking", scope="admin", path_parameters=POLICY,
        body=drift_schemas.AnchorRequest, body_required=False, answers={200: drift_schemas.AnchorAnswer},
        problems=_CHANGE,
    ),
)  # fmt: skip

PROVING_ROUTES: Final[tuple[Route, ...]] = (*_JUDGING_ROUTES, *_CANDIDATE_ROUTES, *_RELEASE_ROUTES, *_DRIFT_ROUTES)
