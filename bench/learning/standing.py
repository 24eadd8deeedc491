"""Where the learner is worse than what is simplest, case by case, and how much of a mean is owed to single sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.learning.play import Dearest
from bench.learning.summary import Result, Results, figure, per_seed
from bench.learning.tables import Sheet, plain, with_sign

SIMPLE: Final = "context-free Thompson (Beta)"  # the peer that knows neither contexts nor prices
ERRORS: Final = 2.0  # standard errors of a difference beyond which a case counts as worse


@dataclass(frozen=True, slots=True)
class Difference:
    """mean : over seeds. error : its standard error, None with a single seed."""

    mean: float
    error: float | None

    @property
    def is_worse(self) -> bool:
        """Below 0 by more than two errors; with a single seed nothing can be told."""
        return self.error is not None and self.mean < -ERRORS * self.error


def difference(values: Sequence[float]) -> Difference | None:
    """Of values by seed; those that are not finite are left out. None without any."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not known.size:
        return None
    error = float(known.std(ddof=1) / np.sqrt(known.size)) if known.size > 1 else None
    return Difference(float(known.mean()), error)


def standing_sheet(
    title: str,
    header: str,
    results: Results,
    cases: Sequence[str],
    *,
    reference: str,
    dearest: Mapping[str, Dearest],
) -> Sheet:
    """Headroom of the whole run of ``reference``, less that of each simple policy on the same shuffles."""
    lines = []
    worse: dict[str, list[str]] = {SIMPLE: [], "the best fixed arm": [], "always the dearest arm": []}
    for case in cases:
        mine = _by_seed(results, case, reference)
        if not mine:
            continue
        simple = _by_seed(results, case, SIMPLE)
        fixed = _fixed(results, case, reference)
        single = dearest[case].headroom
        differences = {
            SIMPLE: difference([mine[seed] - simple[seed] for seed in mine if seed in simple]),
            "the best fixed arm": None if fixed is None else difference([one - fixed for one in mine.values()]),
            "always the dearest arm": None if single is None else difference([one - single for one in mine.values()]),
        }
        for name, found in differences.items():
            if found is not None and found.is_worse:
                worse[name].append(case)
        lines.append((case, plain(float(np.mean(list(mine.values())))), *map(_shown, differences.values())))
    said = "; ".join(f"{name}: {', '.join(names) or 'nowhere'}" for name, names in worse.items())
    note = (
        f"{header} Headroom of the whole run, and less that of each, with the standard error over common shuffles. "
        f"Worse by more than two errors than {said}. The best fixed arm is known in hindsight alone."
    )
    headings = ("case", reference, *(f"less {name}" for name in worse))
    return Sheet(title=title, note=note, headings=headings, rows=tuple(lines))


def left_out_sheet(
    title: str, header: str, results: Results, cases: Mapping[str, str], *, reference: str
) -> Sheet | None:
    """The mean of ``reference`` with each set left out, and on that set alone. cases : set by case.

    None where all cases are of one set.
    """
    sets = list(dict.fromkeys(cases.values()))
    if len(sets) < 2:
        return None
    lines = []
    for one in (None, *sets):
        rest = [case for case, its in cases.items() if its != one]
        alone = [case for case, its in cases.items() if its == one]
        shown = [_paired(results, names, reference) for names in (rest, alone)]
        lines.append((one or "*none*", str(len(rest)), *shown[0], *(shown[1] if one else ("", ""))))
    less = f"less {SIMPLE}"
    return Sheet(
        title=title,
        note=f"{header} Headroom of the whole run of {reference}: chosen on some sets, confirmed on the others.",
        headings=("set left out", "other cases", "mean of the others", less, "on the set itself", f"{less} there"),
        rows=tuple(lines),
    )


def _paired(results: Results, cases: Sequence[str], reference: str) -> tuple[str, str]:
    """Means over cases, of shuffles that have every case: the reference's, and less the simple policy's."""

    def whole(result: Result) -> float:
        return figure(result, "headroom", "all")

    mine, simple = (per_seed(results, name, cases, whole) for name in (reference, SIMPLE))
    own = difference(list(mine.values()))
    against = difference([mine[seed] - simple[seed] for seed in mine if seed in simple])
    return _shown(own, sign=False), _shown(against)


def _by_seed(results: Results, case: str, policy: str) -> dict[int, float]:
    return {
        seed: figure(result, "headroom", "all")
        for (name, played, seed), result in sorted(results.items(), key=lambda one: one[0][2])
        if name == case and played == policy
    }


def _fixed(results: Results, case: str, policy: str) -> float | None:
    found = [
        result["fixed_headroom"] for (name, played, _), result in results.items() if (name, played) == (case, policy)
    ]
    return None if not found or found[0] is None else float(str(found[0]))


def _shown(one: Difference | None, *, sign: bool = True) -> str:
    if one is None:
        return ""
    mean = with_sign(one.mean) if sign else plain(one.mean)
    text = mean if one.error is None else f"{mean} ± {plain(one.error)}"
    return f"**{text}**" if sign and one.is_worse else text
