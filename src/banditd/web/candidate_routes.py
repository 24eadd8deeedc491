"""The routes of candidates and evaluations."""

from __future__ import annotations

from typing import Final

from banditd.web.api import BATCH_BODY, Route
from banditd.web.handlers import candidates
from banditd.web.problems import CONFLICT, INVALID, MALFORMED, MEDIA, NOT_FOUND, TOO_LARGE, UNAVAILABLE
from banditd.web.schemas import candidates as schemas
from banditd.web.schemas.base import NAME_PATTERN, UUID_PATTERN

_NAME: Final[dict[str, object]] = {"type": "string", "pattern": NAME_PATTERN, "maxLength": 128}
_POLICY: Final = {"policy": (_NAME, "Name of the policy.")}
_CANDIDATE: Final = {**_POLICY, "candidate": (_NAME, "Name of the candidate.")}
_EVALUATION: Final[dict[str, tuple[dict[str, object], str]]] = {
    "id": ({"type": "string", "pattern": UUID_PATTERN}, "The evaluation's id.")
}
_BODY: Final = (MALFORMED, TOO_LARGE, MEDIA, INVALID, NOT_FOUND, CONFLICT, UNAVAILABLE)
_PLACE: Final = "/v1/policies/{policy}/candidates"

CANDIDATE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path=_PLACE, handler=candidates.create, operation="createCandidate",
        summary="Name a difference to the policy, to be evaluated or released", tag="candidates", scope="admin",
        path_parameters=_POLICY, body=schemas.CandidateRequest,
        answers={200: schemas.CandidateAnswer, 201: schemas.CandidateAnswer},
        problems=_BODY,
    ),
    Route(
        method="GET", path=_PLACE, handler=candidates.page, operation="listCandidates",
        summary="The candidates of a policy", tag="candidates", scope="read", path_parameters=_POLICY,
        answers={200: schemas.CandidatesAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="GET", path=f"{_PLACE}/{{candidate}}", handler=candidates.get, operation="getCandidate",
        summary="One candidate, beside the policy as it stands", tag="candidates", scope="read",
        path_parameters=_CANDIDATE, answers={200: schemas.CandidateAnswer}, problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path=f"{_PLACE}/{{candidate}}", handler=candidates.patch, operation="shadowCandidate",
        summary="Count what a candidate would have drawn, beside the traffic; or stop", tag="candidates",
        scope="admin", path_parameters=_CANDIDATE, body=schemas.CandidatePatch,
        answers={200: schemas.CandidateAnswer}, problems=_BODY,
    ),
    Route(
        method="DELETE", path=f"{_PLACE}/{{candidate}}", handler=candidates.delete, operation="deleteCandidate",
        summary="Delete a candidate", tag="candidates", scope="admin", path_parameters=_CANDIDATE,
        answers={204: None}, problems=(NOT_FOUND, CONFLICT, UNAVAILABLE),
    ),
    Route(
        method="POST", path="/v1/evaluations", handler=candidates.evaluate, operation="evaluate",
        summary="Ask the log, or cases with known scores, what a candidate would earn", tag="candidates",
        scope="admin", body=schemas.EvaluationRequest, takes=BATCH_BODY,
        answers={202: schemas.EvaluationAnswer}, problems=_BODY,
    ),
    Route(
        method="GET", path="/v1/evaluations", handler=candidates.evaluations, operation="listEvaluations",
        summary="Evaluations, newest first", tag="candidates", scope="read",
        parameters=schemas.EvaluationParameters, answers={200: schemas.EvaluationsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="GET", path="/v1/evaluations/{id}", handler=candidates.evaluation, operation="getEvaluation",
        summary="One evaluation: its phase, its figures, why, and what would settle it", tag="candidates",
        scope="read", path_parameters=_EVALUATION, answers={200: schemas.EvaluationAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
)  # fmt: skip
