"""The outline of a prompt template: what changes it, and what does not."""

from __future__ import annotations

import pytest

from banditd.features.outline import MAX_TOOLS, OPENING_CHARS, PROMPT_TEMPLATE, outline
from banditd.features.tags import PLACES, SIGHTINGS, TagColumns
from banditd.web.outlines import outline_of_body, outline_of_messages
from banditd.web.schemas.routing import Message

SUPPORT = "You are the support desk of a bank. Today is 2026-11-29.\n\nBe brief."
USER = {"role": "user", "content": "Where is my card?"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (SUPPORT.replace("2026-11-29", "2027-01-3"), True),
        (SUPPORT.replace("\n\n", " ") + "  ", True),
        (SUPPORT.replace("bank", "shop"), False),
        ("", False),
    ],
)
def test_dates_numbers_and_white_space_make_no_other_template(text: str, same: bool) -> None:
    assert (outline([text], ["look", "send"]) == outline([SUPPORT], ["look", "send"])) is same


def test_tools_count_by_their_names_in_any_order() -> None:
    assert outline([SUPPORT], ["send", "look"]) == outline([SUPPORT], ["look", "send", "look"])
    assert outline([SUPPORT], ["look"]) != outline([SUPPORT], ["look", "send"]) != outline([SUPPORT], [])
    assert outline([], []) is outline([" \n"], []) is None


def test_what_stands_behind_the_opening_is_the_users() -> None:
    opening = "Answer from these documents. " * (OPENING_CHARS // 28)
    assert outline([opening, "Document about cats"], []) == outline([opening + "Document about dogs" * 10**5], [])
    long = outline(["word " * 10**6], (f"tool {i} " * 100 for i in range(10**4)))
    assert long is not None
    assert len(long) < 10_000


CHAT_TOOLS = [{"type": "function", "function": {"name": "look"}}, {"type": "function", "function": {"name": "send"}}]
FLAT_TOOLS = [{"type": "function", "name": "look"}, {"name": "send", "input_schema": {}}]
PARTS = [{"type": "text", "text": SUPPORT}]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": SUPPORT}, USER], "tools": CHAT_TOOLS},
        {"messages": [{"role": "developer", "content": PARTS}, USER], "functions": FLAT_TOOLS},
        {"system": SUPPORT, "messages": [USER], "tools": FLAT_TOOLS},
        {"system": PARTS, "messages": [USER], "tools": FLAT_TOOLS},
        {"instructions": SUPPORT, "input": "Where is my card?", "tools": FLAT_TOOLS},
        {"input": [{"role": "system", "content": PARTS}, USER], "tools": FLAT_TOOLS},
        # Later system messages are part of the conversation, and what is no tool has no name.
        {"system": SUPPORT, "messages": [USER, {"role": "system", "content": "!"}], "tools": [*FLAT_TOOLS, 1, {}]},
    ],
)
def test_a_template_is_the_same_in_every_form_of_request(body: dict[str, object]) -> None:
    assert outline_of_body(body) == outline([SUPPORT], ["look", "send"])


def test_a_route_request_has_its_template_in_its_messages_and_tools() -> None:
    messages = [Message.model_validate(one) for one in ({"role": "system", "content": PARTS}, USER)]
    assert outline_of_messages(messages, CHAT_TOOLS) == outline([SUPPORT], ["look", "send"])
    assert outline_of_messages(messages, 7) == outline([SUPPORT], [])
    assert outline_of_messages(None, 7) is None
    assert outline_of_messages(messages[1:], None) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": 3, "tools": "none", "system": 1},
        {"messages": [None, 5]},
        {"system": [None, {"text": 4}], "tools": [{"function": 4}, {"name": ["x"]}]},
    ],
)
def test_what_cannot_be_read_has_no_template(body: dict[str, object]) -> None:
    assert outline_of_body(body) is None


def test_many_messages_and_tools_are_not_read_to_the_end() -> None:
    empty = {"role": "system", "content": ""}
    assert outline_of_body({"messages": [empty] * 100 + [{"role": "system", "content": SUPPORT}]}) is None
    found = outline_of_body({"tools": [{"name": f"t{i}"} for i in range(1000)]})
    assert found is not None
    assert found.count("\0") == MAX_TOOLS


def test_a_template_that_is_met_once_takes_no_column() -> None:
    columns = TagColumns([PROMPT_TEMPLATE, "task"])
    for i in range(1000):
        columns.note({PROMPT_TEMPLATE: f"with document {i}", "task": "sql"})
        if i % 100 == 0:
            columns.note({PROMPT_TEMPLATE: "often"})
    assert columns.unseen() == [("task", "sql"), (PROMPT_TEMPLATE, "often")]


def test_a_template_takes_a_column_at_its_third_sighting() -> None:
    columns = TagColumns([PROMPT_TEMPLATE])
    for times in range(1, 5):
        columns.note({PROMPT_TEMPLATE: "a"})
        assert bool(columns.unseen()) == (times >= SIGHTINGS[PROMPT_TEMPLATE])
    columns.adopt([(PROMPT_TEMPLATE, "a", 0)])
    columns.note({PROMPT_TEMPLATE: "a"})
    assert columns.unseen() == []
    assert columns.place(PROMPT_TEMPLATE, "a") == 0 != PLACES
