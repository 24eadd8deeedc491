"""Passes that were played, one JSON line each: a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Final

from bench.promise.cases import DATA, MADE_UP, POOLS, ROOT, ROWS, Case
from bench.promise.play import Figures

OUT: Final = ROOT / "out" / "promise.jsonl"
SOURCES: Final = (ROOT / "src" / "banditd", ROOT / "bench" / "promise")


class Cache:
    """The passes in a file; a line of other code or data, or one that was cut short, is passed over.

    Several processes may append to one file: each line is one write.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Figures] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                self._remember(line)

    def _remember(self, line: str) -> None:
        try:
            one = json.loads(line)
            self._known[str(one["pass"])] = Figures(**one["figures"])
        except (ValueError, KeyError, TypeError):
            return

    def get(self, case: Case, seed: int) -> Figures | None:
        return self._known.get(_key(case, seed))

    def put(self, case: Case, seed: int, figures: Figures) -> None:
        line = json.dumps({"pass": _key(case, seed), "case": case.shown(), "figures": figures.fields()})
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._remember(line)


def _key(case: Case, seed: int) -> str:
    return hashlib.sha256(repr((astuple(case), seed, ROWS, _code(), _data(case.pool))).encode()).hexdigest()[:24]


@cache
def _code() -> str:
    """Of all that a pass runs through."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            content = file.read_bytes() if file.suffix == ".py" else str(file.stat().st_size).encode()
            digest.update(str(file.relative_to(ROOT)).encode() + content)
    return digest.hexdigest()


@cache
def _data(pool: str) -> tuple[tuple[str, int], ...]:
    """Names and sizes of the files that a pool is read from."""
    if pool in MADE_UP:
        return ()
    folder = DATA / POOLS[pool][0]
    return tuple((file.name, file.stat().st_size) for file in sorted(folder.glob("*")) if file.is_file())
