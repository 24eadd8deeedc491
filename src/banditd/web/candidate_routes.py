"""The routes of candidates and evaluations."""

from __future__ import annotations

from typing import Final

from banditd.web.api import BATCH_BODY, Route
from banditd.web.handlers import candidates
from banditd.web.problems import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE
from banditd.web.route_parts import BODY, NAME, POLICY, id_of, look
from banditd.web.schemas import candidates as schemas

_CANDIDATE: Final = {**POLICY, "candidate": (NAME, "Name of the candidate.")}
_EVALUATION: Final = id_of("The evaluation's id.")
_CHANGE: Final = (*BODY, NOT_FOUND, CONFLICT, UNAVAILABLE)
_PLACE: Final = "/v1/policies/{policy}/candidates"

CANDIDATE_ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST", path=_PLACE, handler=candidates.create, operation="createCandidate",
        summary="Name a difference to the policy, to be evaluated or released", tag="candidates", scope="admin",
        path_parameters=POLICY, body=schemas.CandidateRequest,
        answers={200: schemas.CandidateAnswer, 201: schemas.CandidateAnswer},
        problems=_CHANGE,
    ),
    look(
        _PLACE, candidates.page, "listCandidates", "The candidates of a policy",
        tag="candidates", path_parameters=POLICY, answers={200: schemas.CandidatesAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    look(
        f"{_PLACE}/{{candidate}}", candidates.get, "getCandidate", "One candidate, beside the policy as it stands",
        tag="candidates", path_parameters=_CANDIDATE, answers={200: schemas.CandidateAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
    Route(
        method="PATCH", path=f"{_PLACE}/{{candidate}}", handler=candidates.patch, operation="shadowCandidate",
        summary="Count what a candidate would have drawn, beside the traffic; or stop", tag="candidates",
        scope="admin", path_parameters=_CANDIDATE, body=schemas.CandidatePatch,
        answers={200: schemas.CandidateAnswer}, problems=_CHANGE,
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
        answers={202: schemas.EvaluationAnswer}, problems=_CHANGE,
    ),
    look(
        "/v1/evaluations", candidates.evaluations, "listEvaluations", "Evaluations, newest first",
        tag="candidates", parameters=schemas.EvaluationParameters, answers={200: schemas.EvaluationsAnswer},
        problems=(INVALID, NOT_FOUND, UNAVAILABLE),
    ),
    look(
        "/v1/evaluations/{id}", candidates.evaluation, "getEvaluation",
        "One evaluation: its phase, its figures, why, and what would settle it",
        tag="candidates", path_parameters=_EVALUATION, answers={200: schemas.EvaluationAnswer},
        problems=(NOT_FOUND, UNAVAILABLE),
    ),
)  # fmt: skip
