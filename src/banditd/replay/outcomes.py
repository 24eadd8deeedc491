"""Tables of outcomes: the ``outcomes.csv`` of a folder, and a sheet that holds the prompts too.

A sheet is a CSV file with a column ``prompt``. Columns with ``|`` are what they are in a folder. Of the others,
``category``, those that the caller names as labels, and those few of whose cells are numbers (``task``) are labels of
the prompts; the rest are arms' scores.
A sheet is what people make by hand, so nothing in it is guessed at quietly: a cell that does not fit its column is an
error that names it, and what was read otherwise than it may have been meant is noted.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray

Table: TypeAlias = tuple[list[str], FloatArray, dict[str, list[str | None]]]
"""Column names without ``id``, values (n, columns) with NaN for empty or non-numeric side data, and answers."""
LONGEST_CELL: Final = 4_000_000
"""Characters. Prompts may hold whole documents; a quotation mark that is not closed is found before memory ends."""
_LABELS: Final = ("prompt", "id", "split", "category", "source")


class Sheet(NamedTuple):
    """labels : of every row, ``prompt`` among them. notes : how columns were read, where that may surprise."""

    labels: list[Mapping[str, object]]
    table: Table
    notes: list[str]


class _Rows(NamedTuple):
    names: list[str]
    cells: list[list[str]]
    lines: list[int]  # where each row begins: a prompt may go over many lines


def read_outcomes(name: str, lines: Iterator[str], n_rows: int) -> Table:
    """The table of a folder. Raises InvalidInputError, with the line of what is wrong."""
    rows = _rows(name, lines)
    if len(rows.cells) != n_rows:
        raise InvalidInputError(f"{name} has {len(rows.cells)} rows, the prompts are {n_rows}.")
    return _table(rows, [i for i, column in enumerate(rows.names) if column != "id"])


def read_sheet(name: str, lines: Iterator[str], labels: Collection[str] = ()) -> Sheet:
    """The rows of a sheet; the columns ``labels`` are labels whatever is in them.

    Raises InvalidInputError, with line and column of what is wrong.
    """
    known = {*_LABELS, *labels}
    rows = _rows(name, lines, skip_blank=True)
    names = rows.names
    if not rows.cells:
        raise InvalidInputError(f"{name} has no rows.")
    filled = {i: [cell for row in rows.cells if (cell := row[i].strip())] for i in range(len(names))}
    if "" in names and filled[names.index("")]:
        raise InvalidInputError(
            f"{name}: column {names.index('') + 1} has no name. Name it, or leave it out (pandas writes one of "
            "its own without to_csv(..., index=False))."
        )
    models = [
        i for i, column in enumerate(names) if "|" not in column and column not in known and _is_score(filled[i])
    ]
    if not models:
        raise InvalidInputError(f"{name} has no column of scores: one per model, with numbers in [0, 1].")
    for i, column in enumerate(names):
        if i in models or "|cost" in column:
            _require_numbers(name, rows, i)
    kept = [i for i, column in enumerate(names) if i in models or "|" in column]
    labelled: list[Mapping[str, object]] = [
        {column: row[i] for i, column in enumerate(names) if i not in kept and (row[i] or column == "prompt")}
        for row in rows.cells
    ]
    expected = known | {names[i] for i in models}
    return Sheet(labelled, _table(rows, kept), _notes(names, filled, {names[i] for i in models}, expected))


def no_model_here(column: str) -> str:
    """What to do with a column of numbers that are no scores."""
    return f"If {column} is of no model, leave it out; 'banditd replay --context-tags {column}' takes it as a label."


def _notes(
    names: Sequence[str], filled: Mapping[int, Sequence[str]], models: set[str], expected: Collection[str]
) -> list[str]:
    notes = []
    unusual = [(i, column) for i, column in enumerate(names) if column and column not in expected]
    for i, column in unusual:
        model, bar, _ = column.partition("|")
        if bar and model not in models:
            notes.append(
                f"column {column} is of no model here and was not used: there is no column {model} of scores"
            )
        elif not bar and not filled[i]:
            notes.append(f"column {column} is empty: neither a score nor a label")
    labels = [column for i, column in unusual if "|" not in column and filled[i]]
    if labels:
        notes.append(
            f"read as labels of the prompts, not as models (few of their cells are numbers): {', '.join(labels)}"
        )
    return notes


def _is_score(cells: Sequence[str]) -> bool:
    """Whether a column is an arm's score: at least half of its filled cells are numbers, or were meant to be."""
    return bool(cells) and 2 * sum(_is_number(cell) or _is_meant(cell) for cell in cells) >= len(cells)


def _is_number(cell: str) -> bool:
    try:
        return not np.isnan(float(cell))  # "nan" is what tools write where there is none
    except ValueError:
        return False


def _is_meant(cell: str) -> bool:
    """A number as people write it: 85%, 0,5, $0.02."""
    return _is_number(cell.strip("%$€ ").replace(",", "."))


def _require_numbers(name: str, rows: _Rows, column: int) -> None:
    is_cost = "|" in rows.names[column]
    for row, line in zip(rows.cells, rows.lines, strict=True):
        cell = row[column].strip()
        if cell and (not _is_number(cell) or (is_cost and np.isinf(float(cell)))):
            raise InvalidInputError(
                f"{name}, line {line}: {cell[:80]!r} in the column {rows.names[column]} is not a number. "
                + (
                    "Leave the cell empty where the cost is not known."
                    if is_cost
                    else "Most of its cells are, so it is read as scores from 0 to 1: leave the cell empty where "
                    f"there is no score. {no_model_here(rows.names[column])}"
                )
            )


def _check_columns(name: str, names: list[str]) -> None:
    if "prompt" not in names:
        commas = "; columns are separated by commas" if len(names) == 1 and set(names[0]) & set(";\t") else ""
        raise InvalidInputError(f"{name} has no column 'prompt'; it has {', '.join(names) or 'none'}{commas}.")


def _rows(name: str, lines: Iterator[str], *, skip_blank: bool = False) -> _Rows:
    former = csv.field_size_limit(LONGEST_CELL)
    reader, rows = csv.reader(lines), _Rows([], [], [])
    line = 1
    try:
        rows.names.extend(column.lstrip("\ufeff") for column in next(reader, []))
        if rows.names and rows.names[0].startswith("{"):
            raise InvalidInputError(
                f"{name} is JSON, not CSV: a replay needs every model's score of every prompt. What a daemon's log "
                "says of other settings, 'banditd evaluate' tells."
            )
        if len(set(rows.names)) != len(rows.names):
            raise InvalidInputError(f"{name}: a column is named twice.")
        if skip_blank:
            _check_columns(name, rows.names)
        line = reader.line_num + 1
        for row in reader:
            if row or not skip_blank:
                if len(row) != len(rows.names):
                    raise InvalidInputError(f"{name}, line {line}: {len(row)} cells, expected {len(rows.names)}.")
                rows.cells.append(row)
                rows.lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidInputError(
            f"{name} cannot be read as CSV: {error}, in the row that begins in line {line}. A cell has at most "
            f"{LONGEST_CELL:,} characters; a quotation mark that is not closed makes one cell of all that follows."
        ) from error
    finally:
        csv.field_size_limit(former)
    return rows


def _table(rows: _Rows, keep: Sequence[int]) -> Table:
    names = rows.names
    header = [names[i] for i in keep]
    values = [
        [_number(row[i], names[i], line) for i in keep] for row, line in zip(rows.cells, rows.lines, strict=True)
    ]
    texts = {names[i]: [row[i] or None for row in rows.cells] for i in keep if names[i].endswith("|answer")}
    return header, np.array(values, dtype=np.float64).reshape(len(rows.cells), len(header)), texts


def _number(cell: str, column: str, line: int) -> float:
    if not cell.strip():
        return float("nan")
    try:
        value = float(cell)
    except ValueError:
        if "|" in column:  # side data may be text
            return float("nan")
        raise InvalidInputError(f"Line {line}: score {cell!r} of {column} is not a number.") from None
    if np.isinf(value) and "|" not in column:  # taken for missing, it would hide what is wrong
        raise InvalidInputError(f"Line {line}: score {cell!r} of {column} is outside [0, 1].")
    return value if np.isfinite(value) else float("nan")
