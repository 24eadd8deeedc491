from __future__ import annotations

import random
from collections import Counter

import pytest

from banditd.simulate.families import FAMILIES, SLOTS, draw, expand


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_every_family_makes_finished_and_different_prompts(family) -> None:
    prompts = [family.prompt(random.Random(seed)) for seed in range(200)]
    assert len({prompt.text for prompt in prompts}) > 100
    for prompt in prompts:
        assert prompt.family == family.name
        assert prompt.text.strip()
        assert 0 <= prompt.difficulty <= 1
        assert prompt.output_tokens > 0
        assert "{number" not in prompt.text
        assert not any("{" + slot + "}" in prompt.text for slot in SLOTS)


def test_harder_prompts_are_longer() -> None:
    rng = random.Random(0)
    prompts = [draw(rng) for _ in range(3000)]
    easy = [len(p.text) for p in prompts if p.difficulty < 0.3]
    hard = [len(p.text) for p in prompts if p.difficulty > 0.7]
    assert sum(hard) / len(hard) > 1.3 * sum(easy) / len(easy)


def test_traffic_has_every_family_in_its_share() -> None:
    rng = random.Random(1)
    counts = Counter(draw(rng).family for _ in range(5000))
    for family in FAMILIES.values():
        assert counts[family.name] / 5000 == pytest.approx(family.weight, abs=0.03)


def test_the_same_seed_gives_the_same_prompts() -> None:
    assert [draw(random.Random(s)) for s in range(20)] == [draw(random.Random(s)) for s in range(20)]


def test_every_slot_of_the_vocabulary_can_be_filled() -> None:
    for entries in SLOTS.values():
        for entry in entries:
            assert expand(entry, SLOTS, random.Random(0))


def test_an_unknown_slot_and_an_endless_grammar_are_errors() -> None:
    with pytest.raises(KeyError):
        expand("{nothing}", SLOTS, random.Random(0))
    with pytest.raises(RecursionError):
        expand("{a}", {"a": ("x{a}",)}, random.Random(0))
