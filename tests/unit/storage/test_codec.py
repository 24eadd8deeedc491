from __future__ import annotations

import json
import math

import numpy as np
import pytest

from banditd.storage.codec import (
    clean_text,
    pack_context,
    pack_facts,
    pack_mapping,
    pack_names,
    pack_numbers,
    pack_terms,
    pack_vector,
    unpack_context,
    unpack_mapping,
    unpack_names,
    unpack_vector,
)


def test_vectors_come_back_bit_for_bit():
    vector = np.array([0.1, 1 / 3, 1e-300, -0.0, 5e-324])
    assert pack_vector(vector) == vector.astype("<f8").tobytes()
    assert np.array(unpack_vector(pack_vector(vector))).tobytes() == vector.tobytes()


def test_vectors_of_other_types_and_strides_are_stored_as_float64():
    assert unpack_vector(pack_vector(np.arange(6)[::2])) == [0.0, 2.0, 4.0]
    assert unpack_vector(pack_vector(np.array([0.5], dtype=">f8"))) == [0.5]


def test_a_context_comes_back_exactly_and_writable():
    x = np.array([1.0, 0.1, -3.25]).astype(np.float32).astype(np.float64)
    back = unpack_context(pack_context(x))
    assert back.dtype == np.float64
    assert back.tolist() == x.tolist()
    assert back.flags.writeable


@pytest.mark.parametrize(
    "facts", [{}, {"a": 1.5, "100 %": -2.0, 'quo"te\n%r': 1e-7, "ü": 3.0}, {"n": np.float64(0.25), "i": 3}]
)
def test_facts_are_json(facts):
    assert json.loads(pack_facts(facts)) == facts
    assert unpack_mapping(pack_facts(facts)) == facts


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_numbers_that_are_none_are_refused_though_names_may_say_so(number):
    assert json.loads(pack_numbers({"NaN": [1, "Infinity"]})) == {"NaN": [1, "Infinity"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        pack_numbers({"a": [1, number]})


def test_mappings_and_names_come_back():
    mapping = {"a": "b", "nested": {"x": [1, None, True]}, "nul": "\x00", "surrogate": "\ud800"}
    assert unpack_mapping(pack_mapping(mapping)) == mapping
    assert pack_mapping(mapping).isascii()
    assert unpack_mapping(pack_mapping({})) == {}
    assert unpack_names(pack_names(("b", "a"))) == ("b", "a")


def test_terms_are_json_word_for_word():
    for terms in (
        {},
        {"share": 0.25, "price_per_usd": 12.5, "state": "keeping"},
        {"side": "p\u00e9", "rollout": 0.5},
    ):
        assert pack_terms(terms) == pack_mapping(terms)
        assert pack_terms(dict(terms)) is pack_terms(terms)


def test_a_number_that_json_has_not_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        pack_mapping({"a": float("nan")})


def test_text_that_no_database_holds_is_replaced_visibly():
    assert clean_text(None) is None
    assert clean_text("plain") == "plain"
    assert clean_text("ü☃") == "ü☃"
    assert clean_text("a\x00b") == "a�b"
    clean_text("a\ud800b").encode("utf-8")
