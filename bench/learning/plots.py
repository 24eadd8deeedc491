"""Learning curves as PNG: one panel per set, utility lost against the best fixed arm in hindsight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from banditd.core.types import FloatArray
from bench.learning.cases import Case
from bench.learning.play import POINTS
from bench.learning.policies import BY_NAME
from bench.learning.summary import Results

_COLUMNS = 3


def plot_curves(path: Path, results: Results, cases: Sequence[Case], policies: Sequence[str]) -> None:
    """Mean over cost weights and seeds; the first policy is drawn heavy. Needs matplotlib (extra ``tools``)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets: dict[str, list[Case]] = {}
    for case in cases:
        sets.setdefault(case.name.rsplit("-", 1)[0], []).append(case)
    rows = -(-len(sets) // _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 3.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    handles: dict[str, object] = {}
    for panel, (name, members) in zip(panels, sets.items(), strict=False):
        for number, policy in enumerate(policies):
            found = _mean_curve(results, members, policy)
            if found is None:
                continue
            decisions, lost = found
            (line,) = panel.plot(decisions, lost, color=f"C{number}", linewidth=2.4 if number == 0 else 1.2)
            handles.setdefault(f"banditd: {policy}" if BY_NAME[policy].group == "banditd" else policy, line)
        panel.axhline(0.0, color="gray", linestyle="--", linewidth=1.0)
        panel.set_title(name)
        panel.set_xlabel("decisions")
    for panel in panels[len(sets) :]:
        panel.set_visible(False)
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel("utility lost")
    figure.suptitle("Utility lost against the best fixed arm known in hindsight (dashed); lower is better")
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _mean_curve(results: Results, cases: Sequence[Case], policy: str) -> tuple[FloatArray, FloatArray] | None:
    names = {case.name for case in cases}
    found = [one for (case, played, _), one in results.items() if played == policy and case in names]
    if not found:
        return None
    lost = -np.mean([_curve(one) for one in found], axis=0)
    n = int(str(found[0]["rows"]))
    return np.linspace(0, n, POINTS + 1), np.concatenate([[0.0], lost])


def _curve(result: Mapping[str, object]) -> FloatArray:
    return np.asarray(result["curve"], dtype=np.float64)
