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
from banditd.replay.outcomes import LONGEST_CELL

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


def test_an_export_of_the_log_is_told_where_to_go(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"decision_id": "1", "arm": "a", "policy": "a", "x": "a"}\n', encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"is JSON, not CSV.*banditd evaluate"):
        load_dataset(path)


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
        (["prompt;a"], [["x;1"]], "separated by commas"),
        (["prompt;a"], [["x;0", "5"]], "separated by commas"),
        (["", "prompt", "a"], [["0", "x", "1"]], "column 1 has no name"),
        (["prompt", "a", "b"], [["x", "1", "1"], ["y", "1", "n/a"]], "line 3: 'n/a' in the column b"),
        (["prompt", "a", "b"], [["two\nlines", "1", "1"], ["y", "1", "NaN"]], "line 4: 'NaN' in the column b"),
        (
            ["prompt", "a", "b"],
            [["x", "1", "90%"], ["y", "1", "85%"]],
            "leave the cell empty where there is no score",
        ),
        (["prompt", "a", "b"], [["x", "1", "0,5"], ["y", "1", ""]], "line 2: '0,5' in the column b"),
        (["prompt", "a", "a|cost_usd"], [["x", "1", "0.1"], ["y", "1", "-0.1"]], "Cost -0.1 of a|cost_usd in row 2"),
        (
            ["prompt", "a", "a|cost_usd"],
            [["x", "1", "0.1"], ["y", "1", "$2"]],
            "line 3: '$2' in the column a|cost_usd",
        ),
        (["prompt", "a"], [["x", "1"], ["y" * (LONGEST_CELL + 1), "1"]], "begins in line 3"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_named(
    tmp_path: Path, header: list[str], rows: list[list[str]], says: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        load_dataset(sheet(tmp_path, header, rows))
    assert says in str(refused.value)


def test_long_prompts_and_blank_lines_are_no_defects(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt", "gpt-5.2"], [["y" * 200_000, "1"], [], ["short", "0"], []])
    assert [len(prompt) for prompt in load_dataset(path).prompts] == [200_000, 5]
    assert csv.field_size_limit() < 200_000  # other readers of the process keep theirs


def test_how_columns_were_read_is_noted_where_it_may_surprise(tmp_path: Path) -> None:
    header = ["prompt", "category", "task", "gpt-5.2", "mine", "mien|cost_usd", ""]
    data = load_dataset(
        sheet(tmp_path, header, [["x", "c", "t", "1", "", "1", ""], ["y", "c", "u", "1", " ", "", ""]])
    )
    assert data.arms == ("gpt-5.2",)
    notes = "\n".join(data.notes)
    assert "column mine is empty: neither a score nor a label" in notes
    assert "column mien|cost_usd is of no model here" in notes
    assert "not as models (few of their cells are numbers): task" in notes
    assert "category" not in notes


NUMBERED = (["prompt", "category", "level", "gpt-5.2"], [["x", "7", "3", "1"], ["y", "8", "5", "0.5"]])


def test_numbers_that_are_no_scores_can_be_labels(tmp_path: Path) -> None:
    path = sheet(tmp_path, *NUMBERED)
    with pytest.raises(InvalidInputError) as refused:
        load_dataset(path)
    assert str(refused.value) == (
        "Score 3.0 of level in row 1 is outside [0, 1]. "
        "If level is of no model, leave it out; 'banditd replay --context-tags level' takes it as a label."
    )
    data = load_dataset(path, labels_named=("level",))
    assert data.arms == ("gpt-5.2",)
    assert data.tags(("level", "category")) == [{"level": "3", "category": "7"}, {"level": "5", "category": "8"}]
    assert not any("label" in note for note in data.notes)  # the reader said so
    shown = CliRunner().invoke(commands, ["replay", str(path), "--step", "level", "--json", "-"])
    assert json.loads(shown.stdout)["references"]["best_fixed"]["arm"] == "gpt-5.2"


def test_progress_in_a_pipe_is_lines_beside_the_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banditd.cli.progress_lines.LINE_EVERY_S", 0.0)
    path = sheet(tmp_path, ["prompt", "gpt-5.2"], [[f"question {i}", "1"] for i in range(250)])
    shown = CliRunner().invoke(commands, ["replay", str(path), "--json", "-"])
    assert json.loads(shown.stdout)["rows"] == 250
    assert [line.partition(",")[0] for line in shown.stderr.splitlines()] == [
        "replaying: 0 of 250 (0%)", "replaying: 200 of 250 (80%)", "replaying: 250 of 250 (100%)",
    ]  # fmt: skip


UNPRICED = [["prompt", "my-big", "my-small"], [[f"question {i}", "1", "1"] for i in range(30)]]


@pytest.mark.parametrize("given", [["--baseline", "my-big"], [], ["--baseline", "my-big", "--price", "my-small=1,1"]])
def test_a_baseline_without_a_price_is_no_promise(tmp_path: Path, given: list[str]) -> None:
    shown = CliRunner().invoke(commands, ["replay", str(sheet(tmp_path, *UNPRICED)), "--keep", "0.9", *given])
    assert isinstance(shown.exception, InvalidInputError)  # exit code 2: cli.main
    assert str(shown.exception) == (
        "no price of my-big is known: give --price my-big=IN,OUT, or a column my-big|cost_usd"
    )
    plain = CliRunner().invoke(commands, ["replay", str(sheet(tmp_path, *UNPRICED))])
    assert plain.exit_code == 0
    assert "Note: my-big counts as free" in plain.output


def test_a_model_without_a_price_makes_the_saving_doubtful_before_it_is_stated(tmp_path: Path) -> None:
    path = sheet(tmp_path, *UNPRICED)
    given = ["--keep", "0.9", "--baseline", "my-big", "--price"]
    shown = CliRunner().invoke(commands, ["replay", str(path), *given, "my-big=1,1"])
    lines = [line for line in shown.output.splitlines() if line.startswith(("Note", "Saved", "Lost", "Won"))]
    assert [line.split()[0] for line in lines[:3]] == ["Note:", "Saved:", lines[2].split()[0]], shown.output
    assert lines[0].startswith("Note: my-small counts as free")
    assert lines[3].startswith("Note: my-big: no cost column")
    assert len(lines) == 4
    free = CliRunner().invoke(commands, ["replay", str(path), *given, "my-big=0,0"])
    assert free.exit_code == 0, free.output
    assert free.output.index("my-small counts as free") < free.output.index("costs or earns here is nothing")
    assert "Note: my-big: no cost column" in free.output  # not dropped where nothing can be saved


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"there is no file or folder .*missing\.csv"):
        load_dataset(tmp_path / "missing.csv")


def test_a_promise_ends_in_two_sentences(tmp_path: Path) -> None:
    path = sheet(tmp_path, ["prompt", "gpt-5.2", "gpt-6-luna"], [[f"question {i}", "1", "1"] for i in range(40)])
    shown = CliRunner().invoke(commands, ["replay", str(path), "--keep", "0.9", "--baseline", "gpt-5.2"])
    assert shown.exit_code == 0, shown.output
    saved, lost = [line for line in shown.output.splitlines() if line.startswith(("Saved", "Lost", "Won"))]
    assert "instead of $" in saved
    assert lost.startswith("Lost: 0.0 points, 1.000 instead of 1.000 of gpt-5.2: 100.0% of it is kept")
    assert "Note: gpt-5.2: no cost column; list price times estimated tokens" in shown.output
    plain = CliRunner().invoke(commands, ["replay", str(path)])
    assert "Saved" not in plain.output
