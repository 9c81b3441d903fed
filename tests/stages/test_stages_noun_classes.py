"""The class names of COCO and LVIS come back whole, without standing in a word list."""

import json
from collections.abc import Iterator

import pytest

from benchmarks.noun_readers.table import DATA, class_names
from imig.stages import lexicon, plurals
from imig.stages.nouns import caption_to_phrases

BARS = {"coco": 0.99, "lvis": 0.95}
LISTS_OF_NOUNS = (
    "ALWAYS_NOUNS", "COMPOUND_HEADS", "PLURAL_ONLY", "SINGULAR_IN_S", "PLURAL_MODIFIERS",
)  # fmt: skip
"""Lists that make a word a noun, keep it, or tell its singular."""


def lost(dataset: str) -> list[str]:
    """Names that do not come back, each with its template."""
    names = class_names(dataset)
    nexts = [*names[1:], names[0]]
    found = [
        f"a photo of a {name}"
        for name, _ in names
        if caption_to_phrases(f"a photo of a {name}") != [name.lower()]
    ]
    for (name, plural), (other, _) in zip(names, nexts, strict=True):
        caption = f"two {plural} and a {other}"
        if name.lower() not in caption_to_phrases(caption):
            found.append(caption)
    return found


@pytest.fixture
def bare_lexicon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The word lists without any class name, singular or plural."""
    names = {form.lower() for data in BARS for pair in class_names(data) for form in pair}
    for name in LISTS_OF_NOUNS:
        monkeypatch.setattr(lexicon, name, getattr(lexicon, name) - names)
    irregular = {
        plural: one
        for plural, one in lexicon.IRREGULAR_PLURALS.items()
        if plural not in names and one not in names
    }
    monkeypatch.setattr(lexicon, "IRREGULAR_PLURALS", irregular)
    plurals.singular.cache_clear()
    yield
    plurals.singular.cache_clear()


@pytest.mark.parametrize("dataset", BARS)
def test_class_names_come_back_whole(dataset: str) -> None:
    known = json.loads((DATA / "losses.json").read_text(encoding="utf-8"))[dataset]
    found = lost(dataset)
    assert set(found) <= set(known), "losses.json may only shrink"
    assert 1 - len(found) / (2 * len(class_names(dataset))) >= BARS[dataset]


@pytest.mark.parametrize(("dataset", "bar"), [("coco", 0.98), ("lvis", 0.95)])
@pytest.mark.usefixtures("bare_lexicon")
def test_recovery_does_not_rest_on_names_in_word_lists(dataset: str, bar: float) -> None:
    assert 1 - len(lost(dataset)) / (2 * len(class_names(dataset))) >= bar


def test_no_word_list_holds_a_name_of_several_words() -> None:
    names = {form.lower() for data in BARS for pair in class_names(data) for form in pair}
    several = {name for name in names if " " in name}
    spellings = {name.replace(" ", joint) for name in several for joint in ("", "-", " ", "_")}
    for name, words in vars(lexicon).items():
        if name.isupper():
            entries = {" ".join(one) if isinstance(one, tuple) else str(one) for one in words}
            assert not entries & spellings, name
