"""Tables of the benches: on the terminal, and in a document between two marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that must hold of the figures."""

    name: str
    value: float
    bound: str
    met: bool


def rich_table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[str] | None = None,
    caption: str | None = None,
) -> Table:
    """Figures on the right; the columns ``left``, which are the first one unless said otherwise, on the left."""
    table = Table(title=title, title_justify="left", caption=caption)
    for head in heads:
        table.add_column(head, justify="left" if head in (heads[:1] if left is None else left) else "right")
    for row in rows:
        table.add_row(*row)
    return table


def line(cells: Sequence[str], kept: Iterable[int] | None = None) -> str:
    """A line of a table in Markdown, with the ``kept`` cells alone."""
    return f"| {' | '.join(cells if kept is None else [cells[number] for number in kept])} |"


def between(text: str, name: str) -> tuple[str, str, str]:
    """What stands before the two marks of that name, between and behind them; the marks are not of the middle."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = text.split(start, 1)
    inside, after = rest.split(end, 1)
    return before + start, inside, end + after


def write_between(path: Path, name: str, body: str) -> None:
    """Replace what stands between the two marks of the file."""
    before, _, after = between(path.read_text(encoding="utf-8"), name)
    path.write_text(f"{before}\n\n{body}\n\n{after}", encoding="utf-8")
