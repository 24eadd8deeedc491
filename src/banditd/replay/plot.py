"""Learning curves of a replay as PNG. The only place that knows matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from banditd.core.errors import ConfigurationError
from banditd.replay.report import ReplayReport


def check_plots() -> None:
    """Raise ConfigurationError where nothing can be drawn: before a long replay, not after it."""
    if find_spec("matplotlib") is None:
        raise ConfigurationError("Plots need matplotlib: pip install 'banditd[tools]'.")


def plot_curve(report: ReplayReport, path: Path) -> None:
    """Running mean utility of the policy (mean and range over seeds) against the references.

    Raises
    ------
    ConfigurationError : matplotlib is not installed.
    """
    check_plots()
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (an extra)
    from matplotlib.figure import Figure  # noqa: PLC0415

    curve, content = report.curve, report.content
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.decisions, curve.policy.mean(axis=0), color="tab:blue", label=str(content["policy"]))
    axes.fill_between(
        curve.decisions, curve.policy.min(axis=0), curve.policy.max(axis=0), color="tab:blue", alpha=0.2
    )
    for (name, line), colour in zip(curve.references.items(), ("tab:gray", "tab:orange", "tab:green"), strict=True):
        axes.plot(curve.decisions, line, "--", color=colour, label=name)
    later = curve.decisions >= min(50, int(curve.decisions[-1]))  # the first means jump about
    settled = np.concatenate([curve.policy[:, later].ravel(), *(line[later] for line in curve.references.values())])
    axes.set_ylim(float(settled.min()) - 0.02, float(settled.max()) + 0.02)
    axes.set_xlabel("decisions")
    axes.set_ylabel("mean utility so far")
    axes.set_title(f"{content['dataset']}, pool {content['pool']}, {content['seeds']} seeds")
    axes.legend()
    figure.savefig(path, dpi=120)
