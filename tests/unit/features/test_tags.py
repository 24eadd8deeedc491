"""Context tags: which column a value has, and what it does to a context."""

from __future__ import annotations

import numpy as np
import pytest

from banditd.core.errors import ConfigurationError
from banditd.encoders.static import SHIPPED_FOLDER, load_static_encoder
from banditd.features.context import ContextBuilder
from banditd.features.maps import load_feature_maps
from banditd.features.tags import PLACES, TagColumns

ENCODER = load_static_encoder()
MAPS = load_feature_maps(SHIPPED_FOLDER)


def builder(*tags: str) -> ContextBuilder:
    return ContextBuilder(encoder_id=ENCODER.encoder_id, maps=MAPS, context_tags=tags)


def test_the_first_values_have_a_column_each_and_later_ones_share_the_last() -> None:
    columns = TagColumns(["task"])
    columns.give(("task", f"t{i}") for i in range(20))
    places = [columns.place("task", f"t{i}") for i in range(20)]
    assert places == [*range(PLACES), *[PLACES] * 5]
    assert columns.unseen() == []  # there is no place left to wait for


def test_a_new_value_stands_among_the_others_until_it_is_given_a_place() -> None:
    columns = TagColumns(["task", "team"])
    columns.note({"task": "sql", "team": "sql", "user": "u1"})
    assert columns.place("task", "sql") == columns.place("team", "sql") == PLACES
    assert columns.unseen() == [("task", "sql"), ("team", "sql")]
    columns.adopt([("task", "sql", 4), ("gone", "x", 0)])
    assert columns.place("task", "sql") == 4
    assert columns.unseen() == [("team", "sql")]


def test_what_strangers_send_takes_no_room_without_end() -> None:
    columns = TagColumns(["task"])
    for i in range(1000):
        columns.note({"task": f"junk {i}"})
    assert len(columns.unseen()) == PLACES


def test_tags_only_add_columns_and_leave_the_rest_of_the_context_alone() -> None:
    plain, tagged = builder(), builder("task", "team")
    tagged.tag_columns.give([("task", "sql"), ("task", "chat")])
    vector = ENCODER.encode_now("Sum these numbers")
    old = plain.build(text="Sum these numbers", embedding=vector, tags={"task": "chat"}).x
    new = tagged.build(text="Sum these numbers", embedding=vector, tags={"task": "chat", "user": "u1"}).x
    np.testing.assert_array_equal(new[: old.size], old)
    task, team = tagged.schema.groups[-2:]
    assert (task.name, team.name) == ("tag:task", "tag:team")
    assert np.flatnonzero(new[old.size :]).tolist() == [task.start + 1 - old.size]
    assert not new[team.start : team.stop].any()  # a query without the tag says nothing
    assert len(tagged.schema.names) == tagged.schema.n_features


def test_the_hash_of_a_schema_without_context_tags_is_what_it_was() -> None:
    hashes = {builder(*tags).schema.hash for tags in ((), ("task",), ("team",), ("task", "team"))}
    assert len(hashes) == 4
    with pytest.raises(ConfigurationError, match="once each"):
        builder("task", "task")
