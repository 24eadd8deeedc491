"""Scores of files: CSV, what Open WebUI exports, and OpenTelemetry's evaluation events."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from banditd.core.errors import InvalidInputError
from banditd.scores.posting import Score, as_metric, finite, parse_json

_TEXTS: Final = ("decision_id", "reference", "thumb", "metric", "source", "arm", "idempotency_key")
EVALUATION: Final = "gen_ai.evaluation.result"
COLUMNS: Final = (*_TEXTS, "value")
"""What a column may be called; any other one is kept beside the reward (``metadata``)."""
LONGEST_CELL: Final = 131_072
"""Characters of a cell that is sent. The daemon takes less beside a reward."""
_LONGEST_READ: Final = 16_777_216
"""Characters of a cell that is read at all: more of them are a quote that nothing ends."""


def read_csv(path: Path, *, source: str) -> Iterator[Score]:
    """The rows of a CSV file with a heading; an empty cell is a field left out. ``source`` is of rows that name none.

    A row that cannot be a score is one with a problem.
    Raises InvalidInputError : no such file, no CSV, no heading that names decisions and values.
    """
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines, _long_cells():
            reader = csv.DictReader(lines, strict=True)
            _check_heading(path, reader.fieldnames or ())
            for row in reader:
                yield _row(row, source, f"line {reader.line_num}")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is not UTF-8: save it as CSV in UTF-8 ({error.reason})") from error
    except (OSError, csv.Error) as error:
        where = "" if reader is None else f" after line {reader.line_num}"
        raise InvalidInputError(f"{path} cannot be read as CSV{where}: {error}") from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """The csv module has one limit for the whole process."""
    former = csv.field_size_limit(_LONGEST_READ)
    try:
        yield
    finally:
        csv.field_size_limit(former)


def _check_heading(path: Path, names: Sequence[str]) -> None:
    given = set(names)
    if len(given) < len(names):
        raise InvalidInputError(f"the first line of {path} names a column twice: {', '.join(names)}")
    if not given & {"decision_id", "reference"} or not given & {"value", "thumb"}:
        raise InvalidInputError(
            f"the first line of {path} must name decision_id or reference, and value or thumb; it has "
            f"{', '.join(names) or 'nothing'}"
        )


def _row(row: Mapping[str | None, Any], source: str, origin: str) -> Score:
    cells = {name: cell.strip() for name, cell in row.items() if name is not None and isinstance(cell, str)}
    reward: dict[str, Any] = {"source": source} | {name: cells[name] for name in _TEXTS if cells.get(name)}
    if beside := {name: cell for name, cell in cells.items() if name not in COLUMNS and cell}:
        reward["metadata"] = beside
    if None in row or len(cells) < len(row):
        return Score(origin, reward, "it has not as many cells as the first line")
    if too_long := [name for name, cell in cells.items() if len(cell) > LONGEST_CELL]:
        return Score(origin, {}, f"its cell {too_long[0]} has more than {LONGEST_CELL:,} characters")
    value = cells.get("value")
    if value:
        if (number := finite(value)) is None:
            return Score(origin, reward, f"{value!r} is no number")
        reward["value"] = number
    elif "thumb" not in reward:
        return Score(origin, reward, "it has neither a value nor a thumb")
    return Score(origin, reward)


def read_open_webui(path: Path) -> Iterator[Score]:
    """Thumbs of Open WebUI's export of feedback (Admin Panel, Evaluations, Feedbacks): references are message ids.

    Feedback without a thumb or a message is left out. Raises InvalidInputError : it is no such export.
    """
    try:
        rows = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(rows, list):
        raise InvalidInputError(f"{path} must hold a list of feedback, as Open WebUI exports it")
    for number, row in enumerate(rows, start=1):
        data, meta = (row.get(part) if isinstance(row, dict) else None for part in ("data", "meta"))
        if not isinstance(data, dict) or not isinstance(meta, dict):
            continue
        rating, message = data.get("rating"), meta.get("message_id")
        if isinstance(message, str) and message and rating in (1, -1, "1", "-1"):  # of a list there is no hash
            thumb = "up" if int(rating) > 0 else "down"
            yield Score(f"feedback {number}", {"reference": message, "thumb": thumb, "source": "human"})


def read_otlp(lines: Iterable[str], *, source: str) -> Iterator[Score]:
    """Events ``gen_ai.evaluation.result`` of OTLP log records in JSON, an export request per line.

    That is what the OpenTelemetry collector's file exporter writes. A reference is the event's
    ``gen_ai.response.id``, or else its trace id; a metric is the evaluation's name. Other records, and events without
    a number, are left out.
    ``source`` : who evaluates.

    Raises InvalidInputError : the first line is no such JSON. A later one is a score with a problem: the collector
    may still be writing it.
    """
    readable = False
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records = [
                record
                for resource in parse_json(line).get("resourceLogs") or ()
                for scope in resource.get("scopeLogs") or ()
                for record in scope.get("logRecords") or ()
            ]
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            if not readable:
                raise InvalidInputError(f"line {number} is no OTLP export of logs in JSON: {error}") from error
            yield Score(f"line {number}", {}, f"it is no OTLP export of logs in JSON: {error}")
            continue
        readable = True
        for record in records:
            try:
                reward = _evaluation(record, source)
            except (AttributeError, TypeError, KeyError):
                yield Score(f"line {number}", {}, "its attributes have not the form of OTLP's JSON")
                continue
            if reward is not None:
                yield Score(f"line {number}", reward)


def _evaluation(record: Mapping[str, Any], source: str) -> dict[str, Any] | None:
    stated = {one["key"]: next(iter(one.get("value", {}).values()), None) for one in record.get("attributes", ())}
    if EVALUATION not in {record.get("eventName"), stated.get("event.name")}:
        return None
    reference = stated.get("gen_ai.response.id") or record.get("traceId")
    value = finite(stated.get("gen_ai.evaluation.score.value"))  # an integer is a text in OTLP's JSON
    if not reference or value is None:
        return None
    metric = as_metric(str(stated.get("gen_ai.evaluation.name") or ""))
    return {"reference": str(reference), "value": value, "metric": metric, "source": source}
