"""Golden sets as files: what is read, and what a mistake in one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from banditd.core.errors import ConfigurationError
from banditd.daemon.golden import read_golden


def written(folder: Path, *lines: object) -> Path:
    path = folder / "golden.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines), encoding="utf-8")
    return path


def test_prompts_and_conversations_are_bodies_of_chats(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "äö?"}]
    path = written(tmp_path, {"prompt": "What is 2 + 2?"}, "", {"messages": messages, "max_tokens": 20})
    first, second = read_golden(path, 50)
    assert first.body == {"messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    assert (first.input_tokens, second.input_tokens) == (4, 3)
    assert second.body == {"messages": messages, "max_tokens": 20}
    assert [len(one.prompt_id) for one in (first, second)] == [16, 16]
    # What a prompt says names it, wherever it stands and whatever stands beside it.
    [again] = read_golden(written(tmp_path, {"max_tokens": 20, "messages": messages}), 50)
    assert again.prompt_id == second.prompt_id


def test_a_line_ends_where_json_lines_say_and_a_mark_at_the_start_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_bytes('\ufeff{"prompt": "one\u2028two\u0085three"}\r\n{"prompt": "four"}\r\n'.encode())
    assert [one.body["messages"][0]["content"] for one in read_golden(path, 50)] == [
        "one\u2028two\u0085three",
        "four",
    ]


def test_no_more_are_read_than_are_asked(tmp_path: Path) -> None:
    path = written(tmp_path, *[{"prompt": f"What is {i}?"} for i in range(9)], "no JSON: it is not reached")
    assert len(read_golden(path, 4)) == 4


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "has no prompt"),
        (["", "  "], "has no prompt"),
        (["{"], "line 1 is no JSON"),
        ([{"prompt": "a"}, "[]"], "line 2 has no prompt"),
        ([{"prompt": "a", "messages": []}], "line 1 has no prompt, or prompt and messages"),
        ([{"prompt": ""}], "a text that is not empty"),
        ([{"prompt": 3}], "a text that is not empty"),
        ([{"prompt": None}], "a text that is not empty"),
        ([{"messages": []}], "a text that is not empty"),
        ([{"messages": [{"role": "user"}]}], "a text that is not empty"),
        ([{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}], "a text that is not empty"),
        ([{"prompt": "a", "promt": "b"}], "line 1 has promt, and it may have"),
        ([{"prompt": "a", "max_tokens": 0}], "max_tokens is not a whole number"),
        ([{"prompt": "a", "max_tokens": True}], "max_tokens is not a whole number"),
        ([{"prompt": "a"}, {"prompt": "a"}], "line 2: a prompt that is there already"),
        (['{"prompt": "\\ud800"}'], "half of a character"),
        (["[" * 100_000], "line 1 is no JSON"),
    ],
)
def test_a_mistake_says_where_it_is_and_how_a_line_looks(tmp_path: Path, lines: list[object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_golden(written(tmp_path, *lines), 50)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.jsonl cannot be read"):
        read_golden(tmp_path / "nowhere.jsonl", 50)
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"bytes\.jsonl cannot be read"):
        read_golden(tmp_path / "bytes.jsonl", 50)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_golden(tmp_path, 50)
