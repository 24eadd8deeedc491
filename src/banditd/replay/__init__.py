"""Replay of recorded outcomes: any policy against the truth, through the classes that the daemon runs."""

from banditd.replay.decider import Decider, Row, Served
from banditd.replay.engine import run, run_with
from banditd.replay.evaluation import evaluated_arms, evaluation_prior
from banditd.replay.feedback import FeedbackSource
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan, make_plan
from banditd.replay.plot import check_plots
from banditd.replay.report import ReplayReport
from banditd.replay.signals import AnswerKind
from banditd.replay.table import closing_words, off_policy_table, recipe_table, report_table

__all__ = [
    "AnswerKind",
    "Decider",
    "FeedbackSource",
    "Plan",
    "ReplayOptions",
    "ReplayReport",
    "Row",
    "Served",
    "check_plots",
    "closing_words",
    "evaluated_arms",
    "evaluation_prior",
    "make_plan",
    "off_policy_table",
    "recipe_table",
    "report_table",
    "run",
    "run_with",
]
