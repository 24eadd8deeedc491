"""A made-up company: four models, six kinds of query, true qualities that only this file knows; rewards are rare.

Ten in a hundred answers get a thumb, twenty a judge's score: 28 % any reward. Costs are tokens at list prices.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from banditd.replay.dataset import ReplayData
from banditd.replay.feedback import FeedbackSource
from banditd.replay.options import ReplayOptions
from banditd.replay.plan import Plan

NAME: Final = "company"
QUERIES: Final = 2000
RATE: Final = 0.28
FEEDBACK: Final = (
    FeedbackSource(kind="thumb", rate=0.10),
    FeedbackSource(kind="judge", rate=0.20, sd=0.12),
)
_PRICES: Final = {"gpt-5.2": (1.75, 14.0), "gpt-5-mini": (0.25, 2.0), "gpt-5-nano": (0.05, 0.4), "haiku": (1.0, 5.0)}
_WORDY: Final = {"gpt-5.2": 1.2, "gpt-5-mini": 1.1, "gpt-5-nano": 1.0, "haiku": 0.8}
# Kind -> share of the traffic, tokens in and out, quality of each model in the order of prices.
_KINDS: Final[dict[str, tuple[float, int, int, tuple[float, ...]]]] = {
    "chat": (0.25, 60, 350, (0.92, 0.85, 0.72, 0.87)),
    "german": (0.20, 180, 300, (0.91, 0.79, 0.58, 0.83)),
    "code": (0.20, 400, 700, (0.90, 0.74, 0.42, 0.84)),
    "maths": (0.10, 90, 900, (0.94, 0.82, 0.52, 0.66)),
    "extract": (0.15, 900, 60, (0.95, 0.93, 0.90, 0.93)),
    "json": (0.10, 500, 120, (0.94, 0.90, 0.84, 0.94)),
}
_PEOPLE: Final = (
    "a new customer",
    "our CFO",
    "a nervous user",
    "the on-call engineer",
    "a landlord",
    "my grandmother",
)
_TOPICS: Final = (
    "parental leave", "our refund policy", "GDPR deletion requests", "why the sky is blue", "the history of jazz",
    "two-factor login", "how a heat pump works", "moving to a new city", "a vegan dinner for six",
)  # fmt: skip
_GOODS: Final = ("Kaffeemaschine", "Waschmaschine", "Lieferung 4711", "Rechnung vom Oktober", "SIM-Karte", "Heizung")
_TASKS: Final = (
    "merges overlapping intervals", "parses ISO 8601 durations", "retries an HTTP call with jitter",
    "rate-limits per key with a token bucket", "streams a CSV into PostgreSQL", "validates an IBAN",
)  # fmt: skip
_LANGUAGES: Final = ("Python", "TypeScript", "Go", "Rust", "SQL", "Java")
_NAMES: Final = ("Anna Schmidt", "Jonas Okafor", "Priya Tanaka", "Miguel Rossi", "Wei Novak", "Fatima Miller")
_KEYS: Final = ("name", "email", "priority", "category", "amount", "currency", "due_date", "sentiment")


def plan(keep: float, baseline: str, seed: int, queries: int = QUERIES) -> Plan:
    """The plan of one seed: every seed has queries of its own."""
    options = ReplayOptions(
        directory=Path(NAME), keep=keep, baseline=baseline, feedback=FEEDBACK, order="source", seeds=1
    )
    rows = np.arange(queries, dtype=np.intp)
    data = _world(seed, queries)
    return Plan(options=options, data=data, warmup=rows[:0], scored=rows, penalty=np.zeros(len(data.arms)), price=0.0)


def _world(seed: int, queries: int) -> ReplayData:
    """score : the true quality, which a thumb is drawn from and a judge errs about."""
    rng = random.Random(seed)
    writers, names = _writers(rng), list(_KINDS)
    kinds = rng.choices(names, [_KINDS[name][0] for name in names], k=queries)
    score = np.array([_KINDS[kind][3] for kind in kinds])
    cost = np.empty_like(score)
    for row, kind in enumerate(kinds):
        tokens_in, tokens_out = (
            _KINDS[kind][1] * rng.lognormvariate(0, 0.2),
            _KINDS[kind][2] * rng.lognormvariate(0, 0.35),
        )
        cost[row] = [
            (tokens_in * inward + tokens_out * _WORDY[arm] * outward) / 1e6
            for arm, (inward, outward) in _PRICES.items()
        ]
    return ReplayData(
        name=NAME,
        prompts=tuple(writers[kind]() for kind in kinds),
        arms=tuple(_PRICES),
        score=score,
        cost_usd=cost,
        category=np.array([names.index(kind) for kind in kinds], dtype=np.intp),
        split=("",) * queries,
        prices={},
        features=({},) * queries,
    )


def _writers(rng: random.Random) -> dict[str, Callable[[], str]]:
    one = rng.choice

    def chat() -> str:
        return one([
            f"Explain {one(_TOPICS)} to {one(_PEOPLE)} in a friendly tone.",
            f"Write a short email to {one(_PEOPLE)} about {one(_TOPICS)}.",
            f"Give me five ideas about {one(_TOPICS)}, please.",
            f"What would you tell {one(_PEOPLE)} who asks about {one(_TOPICS)}?",
        ])  # fmt: skip

    def german() -> str:
        goods = one(_GOODS)
        return one([
            f"Meine {goods} funktioniert seit gestern nicht mehr. Bitte schreiben Sie mir eine höfliche Antwort.",
            f"Fasse die Beschwerde zusammen: Ich warte seit {rng.randint(2, 9)} Wochen auf meine {goods}.",
            f"Wie erkläre ich meiner Chefin das Problem mit der {goods}?",
            f"Übersetze ins Englische: Die {goods} wurde am {rng.randint(1, 28)}. Oktober zurückgeschickt.",
        ])  # fmt: skip

    def code() -> str:
        language, task = one(_LANGUAGES), one(_TASKS)
        return one([
            f"Write a {language} function that {task}. Include tests.",
            f"This {language} code {task} and throws on []:\n```\ndef f(xs):\n    return xs[0] + f(xs[1:])\n```",
            f"Refactor for readability ({language}):\n```\nfor i in range(0,len(a)):\n  if a[i]: r.append(a[i])\n```",
            f"Review this {language} pull request which {task}; what breaks under concurrency?",
        ])  # fmt: skip

    def maths() -> str:
        a, b, c = (rng.randint(2, 40) for _ in range(3))
        return one([
            f"Solve {a}x^2 + {b}x - {c} = 0 and show every step.",
            f"Prove that {a}^n - 1 is divisible by {a - 1} for every n >= 1.",
            f"What is the probability of at least {a % 6 + 1} sixes in {b} throws of a fair die?",
            f"Integrate x^{a % 7} * exp(-{b}x) from 0 to infinity.",
        ])  # fmt: skip

    def extract() -> str:
        name, end = one(_NAMES), one(["Please call me back.", "I want a refund.", "The tracking page shows nothing."])
        order = f"{rng.randint(10000, 99999)} from 2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        return (
            f"Extract name, order number and date from this email:\n\nHello, this is {name}. "
            f"My order {order} has not arrived. {end * rng.randint(1, 4)}\n\nRegards, {name}"
        )

    def json() -> str:
        keys, name = ", ".join(rng.sample(_KEYS, 4)), one(_NAMES)
        what = f"invoice {rng.randint(100, 999)} over {rng.randint(10, 900)} EUR is {one(['overdue', 'wrong'])}"
        return f'Return valid JSON with the keys {keys} for this ticket and nothing else: "{name} says {what}."'

    return {"chat": chat, "german": german, "code": code, "maths": maths, "extract": extract, "json": json}
