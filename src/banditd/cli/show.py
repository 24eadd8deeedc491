"""How commands print: JSON for programs on standard output, tables for people, progress on standard error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

T = TypeVar("T")
MISSING = "-"
PIPE_WIDTH = 160
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BETWEEN: Final = 3  # characters from a column to the next
_LEGIBLE: Final = 8  # characters of what is folded


def echo_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def tell(found: T, as_json: bool, for_people: Callable[[T], None]) -> None:
    """Print what was found: as JSON for programs, or as ``for_people`` does."""
    if as_json:
        echo_json(found)
    else:
        for_people(found)


def console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH  # a pipe has no width, and tables must not be folded into eighty columns
    return made


def progress_bar(*, stderr: bool = True) -> Progress:
    """A bar on standard error, so that standard output stays clean; lines where that is no terminal.

    A command that prints lines while it runs takes the bar to standard output (``stderr=False``) and prints
    through the bar's console: the two must share one screen.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console(stderr=stderr)
    if stderr and not screen.is_terminal:
        from banditd.cli.progress_lines import ProgressLines

        return ProgressLines(console=screen)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
    )


def with_progress(work: Callable[[Callable[[str, int, int | None], None]], T]) -> T:
    """What ``work`` returns; what it reports (step, how much of it is done, of how much) is shown meanwhile."""
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def progress(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                for former in tasks.values():
                    bar.update(former, visible=False)
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        return work(progress)


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table with right-aligned numbers and unbroken ids; other columns may be folded."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, show_header=any(columns))
    for index, name in enumerate(columns):
        numeric = any(_is_number(row[index]) for row in rows)
        made.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=_are_ids(rows, index))
    for row in rows:
        made.add_row(*[Text(cell(value)) for value in row])
    return made


def print_table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table or, if the screen is too narrow for unbroken ids, each row as several lines."""
    screen = console()
    if _least_width(columns, rows) <= screen.width:
        screen.print(table(title, columns, rows))
    else:
        _print_lines(screen, title, columns, rows)


def _print_lines(
    screen: Console, title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    from rich.text import Text

    screen.print(Text(title or ""))
    if not any(columns):  # names and values
        for row in rows:
            screen.print(Text("  ".join(map(cell, row))), soft_wrap=True)
        return
    for row in rows:
        named = [(name, value) for name, value in zip(columns, row, strict=True) if value is not None]
        ids = "".join(f"\n{name} {value}" for name, value in named if _is_id(value))
        screen.print(Text(ids), soft_wrap=True)
        screen.print(Text("  ".join(f"{name} {cell(value)}" for name, value in named if not _is_id(value))))


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Of a table that can be read; 0 where no column must be whole."""
    named = any(columns)
    whole = [
        _are_ids(rows, index) if named else any(_is_id(row[index]) for row in rows) for index in range(len(columns))
    ]
    if not any(whole):
        return 0
    widest = [max(len(name), *(len(cell(row[index])) for row in rows)) for index, name in enumerate(columns)]
    least = [wide if kept else min(wide, _LEGIBLE) for kept, wide in zip(whole, widest, strict=True)]
    return sum(least) + _BETWEEN * len(columns)


def _are_ids(rows: Sequence[Sequence[object]], index: int) -> bool:
    stated = [row[index] for row in rows if row[index] is not None]
    return bool(stated) and all(map(_is_id, stated))


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def print_pairs(document: Mapping[str, object]) -> None:
    """Names and values, one below the other."""
    print_table(None, ("", ""), list(document.items()))


def print_document(title: str, document: Mapping[str, Any]) -> None:
    """A JSON object for people: scalars (nested ones with dotted names) as a list, lists of objects as tables."""
    scalars = list(_scalars(document, ""))
    if scalars:
        print_table(title, ("", ""), [(name, cell(value)) for name, value in scalars])
    for name, rows in _tables(document, ""):
        columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if not _is_nested(value)))
        print_table(name, columns, [[row.get(key) for key in columns] for row in rows])


def cell(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:z.4g}" if abs(value) < 1e-3 or abs(value) >= 1e6 else f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(item)}" for name, item in value.items()) or MISSING
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(v, Mapping) for v in value))


def _scalars(document: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            found += _scalars(value, f"{prefix}{name}.")
        elif not _is_nested(value):
            found.append((f"{prefix}{name}", value))
    return found


def _tables(document: Mapping[str, Any], prefix: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    found: list[tuple[str, list[Mapping[str, Any]]]] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            found += _tables(value, f"{prefix}{name}.")
        elif isinstance(value, list) and _is_nested(value):
            found.append((f"{prefix}{name}", [row for row in value if isinstance(row, Mapping)]))
    return found
