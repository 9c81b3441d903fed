"""Any text gives phrases, and they are made of its words."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from imig.stages.caption_words import caption_to_words
from imig.stages.nouns import caption_to_phrases, head_noun, singular

VOCABULARY = (
    "a two no not without neither nor or and of with in by , . ; ' 's ( ) - 1girl 3D U.S. St. can "
    "light set glasses people men dogs running cut red very style photo group named isn't is "
    "Paris camera missing half orange set traffic chess MP3 747 ’ -- :1.2) <x> émail 猫 о"
)
WORDS = st.sampled_from(VOCABULARY.split())
CAPTIONS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=14).map(" ".join))


@given(CAPTIONS)
@example("a" * 300)
@example("ß" * 60 + " dogs")
@example("İstanbul's cats")
@example("e\u0301te\u0301 \u00ad\u200b\ufeff")
@example("\x00\ud800 dog")
@example("'s 's of of no no")
@example("---- ''''' ....")
@example("a dog " * 400)
@example("1." * 2000)
@example("very " * 3000)
@example("running " * 2000 + "dog")
@example("no dog or " * 1000)
def test_any_text_gives_clean_phrases(caption: str) -> None:
    phrases = caption_to_phrases(caption)
    assert phrases == list(dict.fromkeys(phrases))
    assert caption_to_phrases(caption) == phrases
    words = [token.lower() for token in caption_to_words(caption)]
    known = {word.lstrip("0123456789") for word in words} | set(words)
    known |= {singular(word) for word in known} | {f"{word}'s" for word in known} | {"glass", "and"}
    for phrase in phrases:
        assert phrase
        assert phrase == " ".join(phrase.split())
        assert any(unicodedata.category(sign)[0] in "LN" for sign in phrase)
        assert set(phrase.split()) <= known
        assert head_noun(phrase) in phrase.split()


@given(CAPTIONS)
def test_ignored_heads_are_gone_and_nothing_else(caption: str) -> None:
    phrases = caption_to_phrases(caption)
    heads = {head_noun(phrase) for phrase in phrases[:1]}
    left = [phrase for phrase in phrases if head_noun(phrase) not in heads]
    assert caption_to_phrases(caption, ignored=heads) == left


@given(st.lists(st.sampled_from(["dog", "red car", "old oak tree", "mp3 player"]), unique=True))
def test_a_list_of_phrases_reads_as_itself(phrases: list[str]) -> None:
    assert caption_to_phrases(", ".join(phrases)) == phrases


@given(st.text(max_size=60))
@example("-")
@example("a--b-")
@example("in-law")
def test_singular_takes_any_text_and_is_stable(noun: str) -> None:
    one = singular(noun)
    assert bool(one) == bool(noun)
    assert len(one) <= len(noun) + 3
