"""Near duplicates: found where they are, and quickly among many."""

from __future__ import annotations

import random

import pytest

from imig.prompts import similarity
from imig.prompts.similarity import NearDuplicates, jaccard, word_triples

WORDS = [f"word{i}" for i in range(3000)]


def sentence(rng: random.Random, words: int = 30) -> str:
    return " ".join(rng.choices(WORDS, k=words))


def test_triples_and_jaccard() -> None:
    a = word_triples("The red mug, beside a DOG.")
    assert len(a) == 4
    assert a == word_triples("the red mug beside a dog")
    assert jaccard(a, word_triples("the red mug beside a cat")) == pytest.approx(3 / 5)
    assert word_triples("mug") == word_triples("Mug!") != word_triples("dog")


@pytest.mark.parametrize("limit", [0.5, 0.8, 0.95])
def test_exact_about_what_is_too_similar(limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_RECENT", 16 * 50)  # several moves into the array
    rng = random.Random(1)
    texts: list[str] = []
    index = NearDuplicates(limit, read=lambda number: texts[number])
    for number in range(600):
        texts.append(sentence(rng))
        index.add(number, texts[number])
    found, missed, wrong = 0, 0, 0
    for number in range(0, 600, 2):
        words = texts[number].split()
        for _ in range(rng.randint(0, 4)):
            words[rng.randrange(len(words))] = rng.choice(WORDS)
        changed = " ".join(words)
        alike = jaccard(word_triples(changed), word_triples(texts[number]))
        answer = index.find(changed)
        if answer is None:
            missed += alike > limit
        else:
            wrong += alike <= limit or answer != (number, alike)
            found += 1
    assert found > 50
    assert (missed, wrong) == (0, 0)
    assert index.find(sentence(rng)) is None


def test_the_same_text_is_always_a_duplicate() -> None:
    index = NearDuplicates(1.0, read=lambda _: "a b c d")
    index.add(7, "a b c d")
    assert index.find("A b, c d!") == (7, 1.0)
    assert index.find("a b c d e") is None


def test_many_texts_stay_small() -> None:
    rng = random.Random(2)
    texts = [sentence(rng) for _ in range(4_000)]
    index = NearDuplicates(0.8, read=lambda number: texts[number])
    for number, text in enumerate(texts):
        assert index.find(text) is None
        index.add(number, text)
    assert index._old.nbytes <= 4_000 * 16 * 8
    assert index.find(texts[123]) == (123, 1.0)
