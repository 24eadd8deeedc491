"""Tables of outcomes: the ``outcomes.csv`` of a folder, and a sheet that holds the prompts too.

A sheet is a CSV file with a column ``prompt``. Columns with ``|`` are what they are in a folder. Of the others, one
whose cells are numbers is an arm's score, and any other is a label of the prompts (``category``, ``task``, ...).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np

from banditd.core.errors import InvalidInputError
from banditd.core.types import FloatArray

Table: TypeAlias = tuple[list[str], FloatArray, dict[str, list[str | None]]]
"""Column names without ``id``, values (n, columns) with NaN for empty or non-numeric side data, and answers."""
_LABELS: Final = ("prompt", "id", "split")


def read_outcomes(name: str, lines: Iterator[str], n_rows: int) -> Table:
    """The table of a folder. Raises InvalidInputError, with the line of what is wrong."""
    names, rows = _rows(name, lines)
    if len(rows) != n_rows:
        raise InvalidInputError(f"{name} has {len(rows)} rows, the prompts are {n_rows}.")
    return _table(names, rows, [i for i, column in enumerate(names) if column != "id"])


def read_sheet(name: str, lines: Iterator[str]) -> tuple[list[Mapping[str, object]], Table]:
    """Labels of every row, ``prompt`` among them, and the table. Raises InvalidInputError."""
    names, rows = _rows(name, lines)
    if "prompt" not in names:
        raise InvalidInputError(f"{name} has no column 'prompt'; it has {', '.join(names) or 'none'}.")
    if not rows:
        raise InvalidInputError(f"{name} has no rows.")
    scores = [
        i for i, column in enumerate(names) if "|" in column or (column not in _LABELS and _is_numeric(rows, i))
    ]
    labels: list[Mapping[str, object]] = [
        {column: row[i] for i, column in enumerate(names) if i not in scores and (row[i] or column == "prompt")}
        for row in rows
    ]
    if not any("|" not in names[i] for i in scores):
        raise InvalidInputError(f"{name} has no column of scores: one per model, with numbers in [0, 1].")
    return labels, _table(names, rows, scores)


def _rows(name: str, lines: Iterator[str]) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(lines)
    try:
        names = [column.lstrip("\ufeff") for column in next(reader, [])]
        if len(set(names)) != len(names):
            raise InvalidInputError(f"{name}: a column is named twice.")
        rows = []
        for row in reader:
            if len(row) != len(names):
                raise InvalidInputError(f"{name}, line {reader.line_num}: {len(row)} cells, expected {len(names)}.")
            rows.append(row)
    except csv.Error as error:  # a text of more than 131,072 characters, for one
        raise InvalidInputError(f"{name} cannot be read as CSV: {error}.") from error
    return names, rows


def _is_numeric(rows: Sequence[Sequence[str]], column: int) -> bool:
    cells = [cell for row in rows if (cell := row[column].strip())]
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            return False
    return bool(cells)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], keep: Sequence[int]) -> Table:
    header = [names[i] for i in keep]
    values = [[_number(row[i], names[i], number) for i in keep] for number, row in enumerate(rows, start=2)]
    texts = {names[i]: [row[i] or None for row in rows] for i in keep if names[i].endswith("|answer")}
    return header, np.array(values, dtype=np.float64).reshape(len(rows), len(header)), texts


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
