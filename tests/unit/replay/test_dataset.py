from __future__ import annotations

import numpy as np
import pytest

from banditd.core.errors import InvalidInputError
from banditd.replay.dataset import load_dataset

PROMPTS = [{"prompt": "a", "category": "x"}, {"prompt": "b", "source": "y"}, {"prompt": "c"}]


def test_arms_scores_costs_and_categories_are_found_by_the_format(write_folder) -> None:
    folder = write_folder(
        PROMPTS,
        {
            "m1": [1, "", 0.5],
            "m2": [0, 1, 1],
            "m1|cost_usd_est": [0.1, 0.2, ""],
            "m2|cost": [1, 2, 3],
            "m1|note": "abc",
        },
    )
    data = load_dataset(folder)
    assert data.arms == ("m1", "m2")
    assert np.isnan(data.score[1, 0])
    np.testing.assert_allclose(data.cost_usd, [[0.1, 1], [0.2, 2], [0.15, 3]])
    assert len(set(data.category.tolist())) == 3
    assert any("m1" in note and "missing cost" in note for note in data.notes)
    assert data.name == "some_set"


def test_plain_files_are_read_too(write_folder) -> None:
    assert load_dataset(write_folder(PROMPTS, {"m1": [1, 0, 1]}, zipped=False)).n_rows == 3


@pytest.mark.parametrize(
    "price",
    [
        {"price_per_mtok_usd": 2.0},
        {"price_in_out_per_mtok": [2.0, 2.0]},
        {"in_per_mtok": 2.0, "out_per_mtok": 2.0},
        {"price": {"in_per_mtok": 2.0, "out_per_mtok": 2.0}},
    ],
)
def test_without_cost_columns_list_prices_are_used(write_folder, price) -> None:
    folder = write_folder(
        [{"prompt": "x" * 400}] * 2,
        {"m1": [1, 0], "m2": [0, 1], "m1|output_tokens": [100, 300]},
        {"arms": {"m1": price, "m2": {"price": None}}},
    )
    data = load_dataset(folder)
    np.testing.assert_allclose(data.cost_usd[:, 0], [2e-6 * 200, 2e-6 * 400])
    np.testing.assert_array_equal(data.cost_usd[:, 1], 0.0)
    assert any("list price" in note for note in data.notes)
    assert any("counts as zero" in note for note in data.notes)


def test_rows_without_any_score_are_left_out_and_said_so(write_folder) -> None:
    data = load_dataset(write_folder(PROMPTS, {"m1": [1, "", 0], "m2": ["", "", 1]}))
    assert data.prompts == ("a", "c")
    assert any("1 rows without any score" in note for note in data.notes)


def test_pools_by_name_and_by_list(write_folder) -> None:
    folder = write_folder(PROMPTS, {"a": [1] * 3, "b": [0] * 3, "c": [1] * 3}, {"pools": {"two": ["c", "a"]}})
    assert load_dataset(folder, "two").arms == ("c", "a")
    assert load_dataset(folder, "b, c").arms == ("b", "c")
    assert load_dataset(folder, "all").arms == ("a", "b", "c")


@pytest.mark.parametrize(
    ("columns", "pool", "message"),
    [
        ({"m1": [1, 0, 2]}, None, r"outside \[0, 1\]"),
        ({"m1": [1, 0, "inf"]}, None, r"outside \[0, 1\]"),
        ({"m1": [1, 0, "good"]}, None, "not a number"),
        ({"m1": ["", "", ""]}, None, "any score"),
        ({"m1": [1, 0, 1], "m1|cost": [1, "", -2]}, None, r"Cost -2\.0 of m1\|cost in row 3 is negative"),
        ({"m1": [1, 0, 1]}, "m1,m9", "Unknown pool or arm 'm9'"),
        ({"m1": [1, 0, 1]}, "m1,m1", "none twice"),
    ],
)
def test_bad_folders_are_refused_with_the_place(write_folder, columns, pool, message) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_dataset(write_folder(PROMPTS, columns), pool)


def test_unequal_numbers_of_rows_are_refused(write_folder) -> None:
    folder = write_folder(PROMPTS, {"m1": [1, 0, 1]})
    (folder / "outcomes.csv.gz").unlink()
    (folder / "outcomes.csv").write_text("id,m1\nq0,1\n", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="1 rows, the prompts are 3"):
        load_dataset(folder)


def test_a_missing_or_damaged_file_is_named(write_folder, tmp_path) -> None:
    with pytest.raises(InvalidInputError, match=r"prompts\.jsonl"):
        load_dataset(tmp_path)
    folder = write_folder(PROMPTS, {"m1": [1, 0, 1]})
    (folder / "outcomes.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(InvalidInputError, match="damaged"):
        load_dataset(folder)
