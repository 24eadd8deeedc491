"""What all episodes came to, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.chaos.episode import EpisodeReport
from bench.chaos.nemeses import MENU

HEAD = ("nemesis", "rounds", "hurt", "back, s", "others stood, s", "fail-over, s")
LEGEND = """\
hurt: requests without an answer, or answered 5xx. back: longest until all replicas acknowledged again.
others stood: longest time that a replica which was not hit answered nothing.
fail-over: longest until another replica had learned something."""
# Requests and repetitions are counted apart: an operation that is repeated is one.
OUTCOMES = ("acknowledged", "refused", "unknown", "repeated", "no answer", "outcome unknown, said so")
SHOWN_WRONG = 40


def render(reports: Sequence[EpisodeReport], replicas: int) -> str:
    blows = [blow for report in reports for blow in report.blows]
    rows = [HEAD]
    for name in MENU:
        mine = [blow for blow in blows if blow.nemesis == name]
        if mine:
            hurt = str(sum(blow.hurt for blow in mine))
            times = [[getattr(blow, what) for blow in mine] for what in ("back_s", "others_s", "failover_s")]
            rows.append((name, str(len(mine)), hurt, *map(_longest, times)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.outcomes)
    seconds = sum(report.seconds for report in reports)
    learned = sum(report.learned for report in reports)
    difference = max((report.largest_difference for report in reports), default=0.0)
    kinds = ", ".join(f"{counts[name]} {name}" for name in sorted(counts.keys() - set(OUTCOMES)))
    lines = [
        f"{len(blows)} rounds in {len(reports)} episodes and {seconds:.0f} s, {replicas} replicas",
        "",
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows),
        "",
        LEGEND,
        "",
        f"operations: {kinds}",
        f"outcomes: {', '.join(f'{counts[name]} {name}' for name in OUTCOMES)}",
        f"{learned} decisions learned, largest difference of a rebuild {difference:.1e}",
        _verdict([sentence for report in reports for sentence in report.wrong]),
    ]
    return "\n".join(lines)


def _verdict(wrong: Sequence[str]) -> str:
    if not wrong:
        return "nothing lost, nothing counted twice, nothing denied that was stored"
    more = [f"... and {len(wrong) - SHOWN_WRONG} more"] if len(wrong) > SHOWN_WRONG else []
    return "\n  ".join([f"WRONG ({len(wrong)}):", *wrong[:SHOWN_WRONG], *more])


def _longest(seconds: Sequence[float | None]) -> str:
    """The longest of those that were to be seen, and of how many."""
    seen = [value for value in seconds if value is not None]
    return f"{max(seen):.2f} (of {len(seen)})" if seen else "-"
