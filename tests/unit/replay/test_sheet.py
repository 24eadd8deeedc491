"""One CSV file of prompts and scores is replayed as the folder of the same content is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from banditd.cli import commands
from banditd.core.errors import InvalidInputError
from banditd.core.types import Price
from banditd.replay.dataset import load_dataset

HEADER = ["prompt", "category", "level", "gpt-5.2", "own", "own|cost_usd", "own|answer"]
ROWS = [
    ["first", "code", "hard", "1", "0.5", "0.25", "A"],
    ["second, with a comma", "", "easy", "0.75", "", "", ""],
    ["third", "fact", "", "0", "1", "0.75", "B"],
]


def sheet(place: Path, header: list[str] = HEADER, rows: list[list[str]] = ROWS) -> Path:
    path = place / "scores.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])
    return path


def test_a_sheet_is_what_the_folder_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prompts = [{"prompt": row[0]} | {n: row[i] for i, n in ((1, "category"), (2, "level")) if row[i]} for row in ROWS]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    with (folder / "outcomes.csv").open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([["id", *HEADER[3:]], *([str(i), *row[3:]] for i, row in enumerate(ROWS))])
    one, other = load_dataset(sheet(tmp_path)), load_dataset(folder)
    assert (one.prompts, one.arms, one.labels) == (other.prompts, other.arms, other.labels)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.category, other.category)
    np.testing.assert_array_equal(one.cost_usd[:, 1], other.cost_usd[:, 1])
    assert one.signals.texts == other.signals.texts


def test_models_cost_what_is_known_or_given_of_them(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt", "gpt-5.2", "mine"], [["x" * 4000, "1", "0"]])
    data = load_dataset(path, None, {"mine": Price(1.0, 10.0)})
    assert data.cost_usd[0] == pytest.approx([(1000 * 1.75 + 400 * 14) / 1e6, (1000 * 1 + 400 * 10) / 1e6])
    assert load_dataset(path).cost_usd[0, 1] == 0.0
    assert any("mine" in note for note in load_dataset(path).notes)


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        (["question", "a"], [["x", "1"]], "no column 'prompt'; it has question, a"),
        (["prompt", "a"], [], "no rows"),
        (["prompt", "a"], [["x", "good"]], "no column of scores"),
        (["prompt", "a", "a"], [["x", "1", "1"]], "named twice"),
        (["prompt", "a"], [["x"]], "line 2: 1 cells, expected 2"),
        (["prompt", "a"], [["x", "7"]], "outside [0, 1]"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_named(
    tmp_path: Path, header: list[str], rows: list[list[str]], says: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        load_dataset(sheet(tmp_path, header, rows))
    assert says in str(refused.value)


def test_a_promise_ends_in_two_sentences(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt", "gpt-5.2", "gpt-6-luna"], [[f"question {i}", "1", "1"] for i in range(40)])
    shown = CliRunner().invoke(commands, ["replay", str(path), "--keep", "0.9", "--baseline", "gpt-5.2"])
    assert shown.exit_code == 0, shown.output
    saved, lost = [line for line in shown.output.splitlines() if line.startswith(("Saved", "Lost", "Won"))]
    assert "instead of $" in saved
    assert "1.000 instead of 1.000 of gpt-5.2: 100.0% of it is kept" in lost
    assert "Note: gpt-5.2: no cost column; list price times estimated tokens" in shown.output
    plain = CliRunner().invoke(commands, ["replay", str(path)])
    assert "Saved" not in plain.output
