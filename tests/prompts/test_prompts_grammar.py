"""The grammar's prompts: what they name is what tabletop draws."""

from __future__ import annotations

import pytest

from imig.prompts.grammar import write_grammar_prompt
from imig.prompts.record import PromptRecord
from imig.schema import Subset
from imig.tabletop import draw_prompt, parse_prompt
from imig.tabletop.vocabulary import split_phrase
from imig.tabletop.wording import background_in, mood_in


def write(number: int, *, seed: int = 0, subset: Subset = "flexible") -> PromptRecord:
    return write_grammar_prompt(number, recipe_seed=seed, instances=(1, 8), subset=subset)


def test_prompts_read_back_as_exactly_their_subjects() -> None:
    openings, prompts = set(), set()
    for number in range(3000):
        record = write(number)
        combinations = [split_phrase(phrase) for phrase in record.nouns]
        assert parse_prompt(record.prompt) == combinations, record.prompt
        assert len(set(combinations)) == len(combinations) == record.template["count"]
        assert [one.phrase for one in record.subjects] == record.nouns
        for subject in record.subjects:
            assert parse_prompt(subject.prompt) == [split_phrase(subject.phrase)]
            assert background_in(subject.prompt) == "blank"
            assert subject.phrase.endswith(subject.noun)
        assert mood_in(record.prompt) == record.style == record.template["mood"]
        assert background_in(record.prompt) == record.template["table"]
        assert record.prompt[0].isupper()
        assert record.prompt.endswith(".")
        openings.add(record.template["opening"])
        prompts.add(record.prompt)
    assert len(openings) == 7
    assert len(prompts) == 3000


def test_one_thing_stands_and_several_stand() -> None:
    alone = {
        write_grammar_prompt(n, recipe_seed=0, instances=(1, 1), subset="basic").prompt
        for n in range(40)
    }
    assert not [prompt for prompt in alone if " stand " in prompt or "things" in prompt]
    assert any(" stands " in prompt for prompt in alone)


def test_the_same_from_the_same_seed_and_number() -> None:
    assert write(7) == write(7)
    assert write(7) != write(8)
    assert write(7) != write(7, seed=1)
    assert write(7, subset="basic").subjects == []
    assert write(7, subset="basic").prompt != write(7, subset="complex").prompt
    with pytest.raises(ValueError, match=r"1\.\.8"):
        write_grammar_prompt(0, recipe_seed=0, instances=(2, 9), subset="basic")


def test_the_drawn_scene_has_the_prompt_s_things_mood_and_table() -> None:
    for number in range(12):
        record = write(number)
        drawn = draw_prompt(record.prompt, width=64, height=64, seed=number)
        assert sorted(one.phrase for one in drawn.instances) == sorted(record.nouns)
        assert drawn.style == record.style
        assert drawn.scene.backdrop.table == record.template["table"]
