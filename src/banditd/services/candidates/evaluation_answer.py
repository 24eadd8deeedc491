"""An evaluation as readers get it."""

from __future__ import annotations

from typing import Final

from banditd.core.evaluation import Evaluation

# Where nothing was found yet.
NOTHING: Final[dict[str, object]] = {
    "rated": 0, "left_out": {}, "since_us": None, "until_us": None, "estimate": None, "interval": None,
    "half_width": None, "worth": 0.0, "behind": 0.0, "differs": None, "uncovered": None, "refused": 0,
    "reward": None, "other_reward": None, "cost_usd": None, "other_cost_usd": None, "rated_share": None,
    "other_rated_share": None, "later_half": None, "arms": [], "knowledge": None, "replay_differs": None,
}  # fmt: skip


def evaluation_answer(evaluation: Evaluation) -> dict[str, object]:
    """Question, phase and figures. Times are microseconds."""
    question, finding = evaluation.question, evaluation.finding
    return {
        "evaluation_id": evaluation.evaluation_id,
        "policy": question.candidate.policy,
        "candidate": question.candidate.name,
        "candidate_id": question.candidate.candidate_id,
        "against": question.against,
        "method": question.method,
        "margin": question.margin,
        "interval_kind": question.interval,
        "phase": evaluation.phase,
        "reason": None if finding is None else finding.reason,
        "settles": None if finding is None else finding.settles,
        "done": evaluation.done,
        "total": evaluation.total,
        "created_at_us": evaluation.created_at_us,
        "finished_at_us": evaluation.finished_at_us,
        "key_name": evaluation.key_name,
        **NOTHING,
        **({} if finding is None else finding.figures),
    }
