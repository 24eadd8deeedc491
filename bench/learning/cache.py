"""Results on disk, one JSON line each, so that a run computes only what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.learning.cases import Case
from bench.learning.play import VERSION
from bench.learning.policies import PolicySpec


@dataclass(frozen=True, slots=True)
class Job:
    """One pass: a case, a policy, a seed. ``key`` says on what its result depends."""

    case: Case
    policy: str
    seed: int
    key: str


def make_jobs(cases: Iterable[Case], policies: Iterable[PolicySpec], seeds: dict[str, int]) -> list[Job]:
    """seeds : how many, by the policy's name. Passes over the same case come one after the other."""
    return [
        Job(case, spec.name, seed, f"{VERSION}:{case.fingerprint()}:{spec.fingerprint()}")
        for case in cases
        for spec in policies
        for seed in range(seeds[spec.name])
    ]


class Cache:
    """``results.jsonl`` in a folder. One writer at a time; a line that was cut short is passed over."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "results.jsonl"
        self._known: dict[tuple[str, str, int, str], dict[str, object]] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                self._remember(line)

    def _remember(self, line: str) -> None:
        try:
            one = json.loads(line)
            place = (str(one["case"]), str(one["policy"]), int(one["seed"]), str(one["key"]))
            self._known[place] = dict(one["result"])
        except (ValueError, KeyError, TypeError):
            return

    def get(self, job: Job) -> dict[str, object] | None:
        return self._known.get((job.case.name, job.policy, job.seed, job.key))

    def put(self, job: Job, result: dict[str, object]) -> None:
        content = {"case": job.case.name, "policy": job.policy, "seed": job.seed, "key": job.key, "result": result}
        line = json.dumps(content)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._remember(line)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        return [job for job in jobs if self.get(job) is None]
