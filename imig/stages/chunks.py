"""Classified words -> runs that are noun phrases, by the order of their classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from imig.stages import lexicon
from imig.stages.plurals import looks_plural, singular
from imig.stages.word_classes import Kind, Word

_VERBS = frozenset({Kind.VERB_S, Kind.VERB_BASE})
_MODIFIERS = frozenset({Kind.ADJECTIVE, Kind.ING, Kind.PAST})
_JOINERS = frozenset({"and", ",", "&"})
_LOOK_AHEAD = 6
"""Words between an adverb or participle and its noun; no phrase has as many."""
_NOTHING = Word(text="", kind=Kind.MARK)


@dataclass
class Chunk:
    """A run of modifiers and nouns, the determiner or number before it, its place in the caption.

    `start` is the position of its first word, `end` that of the token that ended it.
    """

    opener: str = ""
    start: int = 0
    end: int = 0
    words: list[Word] = field(default_factory=list)
    after: str = ""

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def only_adjectives(self) -> bool:
        return all(word.kind in _MODIFIERS or word.text == "and" for word in self.words)

    @property
    def expects_noun(self) -> bool:
        """Whether a determiner or adjectives stand before, and no noun yet."""
        return (bool(self.opener) or bool(self.words)) and self.only_adjectives

    @property
    def is_singular(self) -> bool:
        """ "a cat naps": after "a" and a noun, a word in -s is a verb."""
        return self.opener in lexicon.SINGULAR_DETERMINERS and not self.only_adjectives


def chunk(words: list[Word]) -> list[Chunk]:
    """The runs in order, those of adjectives alone included."""
    reader = _Reader(words)
    for position in range(len(words)):
        reader.read(position)
    reader.close(len(words), "")
    return reader.found


def is_denial_in_name(words: list[Word], position: int) -> bool:
    """ "a no smoking sign", "a zero gravity chair": behind an article, "no" is part of a name."""
    if position == 0 or words[position].text not in ("no", "zero"):
        return False
    return words[position - 1].text in ("a", "an", "the")


class _Reader:
    """Goes over the words once; `run` is the chunk being read."""

    def __init__(self, words: list[Word]) -> None:
        self.words = words
        self.found: list[Chunk] = []
        self.run = Chunk()
        self.is_list = not any(word.kind is Kind.OPENER for word in words)

    def at(self, position: int) -> Word:
        return self.words[position] if 0 <= position < len(self.words) else _NOTHING

    def close(self, position: int, after: str, *, opener: str = "") -> None:
        if self.run.words:
            self.run.end, self.run.after = position, after
            self.found.append(self.run)
        self.run = Chunk(opener=opener)

    def take(self, word: Word, position: int, kind: Kind | None = None) -> None:
        if not self.run.words:
            self.run.start = position
        taken = word if kind is None else replace(word, kind=kind)
        self.run.words.append(taken)

    def read(self, position: int) -> None:
        word, following = self.at(position), self.at(position + 1)
        if self._is_model_number(position):
            self.take(word, position, Kind.NOUN)
        elif word.text == "that" and self._is_relative(position):
            self.close(position, word.text)
        elif is_denial_in_name(self.words, position):
            self.take(word, position, Kind.ADJECTIVE)
        elif word.kind is Kind.OPENER:
            self.close(position, word.text, opener=word.text)
        elif word.text in _JOINERS and self._joins_adjectives(word, position):
            if word.text != ",":
                self.take(word, position)  # "a red and white bus"
        elif word.kind is Kind.OWNER:
            self._read_owner(word, position)
        elif word.kind is Kind.ADVERB and self._is_adjective_in_ly(word, following):
            self.take(word, position, Kind.ADJECTIVE)
        elif word.kind is Kind.ADVERB:
            # "a brightly colored parrot": the adverb is left out, the phrase goes on
            if not (self.run.only_adjectives and self._is_nominal(position + 1)):
                self.close(position, word.text)
        elif word.kind in (Kind.MARK, Kind.FUNCTION, Kind.PREPOSITION):
            self.close(position, word.text)
        else:
            kind = self._kind_in_run(word, position)
            if kind is None:
                self.close(position, word.text)
            else:
                self.take(word, position, kind)

    def _is_model_number(self, position: int) -> bool:
        """ "a Boeing 747 airplane": a number after a capitalised noun is part of the name."""
        word, before = self.at(position), self.at(position - 1)
        return (
            word.text.isdigit()
            and before.capitalised
            and bool(self.run.words)
            and self.run.words[-1].text == before.text
            and before.kind is Kind.NOUN
        )

    def _is_relative(self, position: int) -> bool:
        """ "a sign that says stop"."""
        before, following = self.at(position - 1), self.at(position + 1)
        verbs = (Kind.VERB_S, Kind.VERB_BASE, Kind.PAST, Kind.FUNCTION)
        return before.kind is Kind.NOUN and following.kind in verbs

    def _is_adjective_in_ly(self, word: Word, following: Word) -> bool:
        """ "a wooly mammoth": adverbs stand before adjectives, not before nouns."""
        opened = self.run.expects_noun
        return opened and word.text.endswith("ly") and following.kind is Kind.NOUN

    def _joins_adjectives(self, word: Word, position: int) -> bool:
        run, following = self.run, self.at(position + 1)
        if word.text == "," and following.kind is Kind.ING:
            # "a small, sleeping cat", yet "a man is tall, wearing jeans"
            return bool(run.opener) and self.at(position + 2).kind is Kind.NOUN
        return bool(run.words) and run.only_adjectives and following.kind in _MODIFIERS

    def _read_owner(self, word: Word, position: int) -> None:
        run = self.run
        names = bool(run.words) and all(one.capitalised for one in run.words)
        # persons' names take no article: "a Rubik's cube" is a thing's name, and so is what goes
        # on with a capital: "a St. Patrick's Day hat"
        of_thing = self.at(position + 1).capitalised or (len(run.words) == 1 and bool(run.opener))
        if names and of_thing and self._is_nominal(position + 1):
            owner = run.words[-1]
            run.words[-1] = Word(owner.text + "'s", Kind.NOUN, capitalised=True)
        else:
            self.close(position, word.text, opener=word.text)

    def _kind_in_run(self, word: Word, position: int) -> Kind | None:
        """The class a word of an open class has in the run, None when it ends it."""
        if word.text in lexicon.SIDES and self.at(position + 1).text == "of":
            return word.kind if self.run.expects_noun and self.run.words else None
        if self.run.expects_noun or not self.run.words:
            return self._kind_before_noun(word, position)
        return self._kind_after_noun(word, position)

    def _kind_before_noun(self, word: Word, position: int) -> Kind | None:
        followed = self._is_nominal(position + 1)
        opened = self.run.expects_noun
        if word.kind is Kind.ING:
            if followed and (opened or self._is_bare_compound(position)):
                return Kind.ADJECTIVE
            return Kind.NOUN if opened and word.could_be_noun and not followed else None
        if word.kind is Kind.PAST:
            if not opened and self.at(position - 1).kind is Kind.FUNCTION:
                return None  # "is seen"
            if followed:
                return Kind.ADJECTIVE
            return Kind.NOUN if opened and word.could_be_noun else None
        if word.kind in _VERBS:
            if opened or (word.could_be_noun and self._stands_alone(position)):
                return Kind.NOUN
            return None
        if word.kind is Kind.ADJECTIVE and word.could_be_noun and self._stands_alone(position):
            return Kind.ADJECTIVE if word.text in lexicon.ADJECTIVES else Kind.NOUN
        if word.kind is Kind.ADJECTIVE and not followed and self.run.opener:
            return self._adjective_or_noun(word)
        return word.kind

    def _adjective_or_noun(self, word: Word) -> Kind:
        """ "an orange on a plate", "the elderly": after an article, without a noun behind."""
        known = word.text in lexicon.ADJECTIVES and word.text != "orange"
        return Kind.ADJECTIVE if known or self.run.opener in lexicon.NUMBERS else Kind.NOUN

    def _kind_after_noun(self, word: Word, position: int) -> Kind | None:
        followed = self._is_nominal(position + 1)
        if self._is_participle(word):
            # "a kitchen cutting board", yet "a man cutting bread"
            before = self.run.words[-1].text
            compound = word.text in lexicon.COMPOUND_PARTICIPLES or before in lexicon.SURROUNDINGS
            return Kind.ADJECTIVE if followed and compound else None
        alone = self._stands_alone(position, before=len(self.run.words))
        if word.kind is Kind.NOUN:
            return None if self._is_verb_after_noun(word, position) else Kind.NOUN
        if word.kind is Kind.ADJECTIVE:
            if alone and word.text not in lexicon.ADJECTIVES:
                return Kind.NOUN  # "tv remote"
            inside = followed and self.at(position + 1).kind is Kind.NOUN
            return Kind.ADJECTIVE if inside and self.run.opener else self._start_anew(position)
        if word.kind is Kind.PAST:
            compound = alone or self._ends_compound(word, self.at(position + 1))
            return Kind.NOUN if word.could_be_noun and compound else None
        if word.kind is Kind.VERB_BASE and self._follows_plural():
            return None
        if word.kind is Kind.VERB_BASE and self.run.is_singular and word.could_be_noun:
            return Kind.NOUN  # no verb agrees: "a boat ride"
        return Kind.NOUN if word.could_be_noun and alone else None

    @staticmethod
    def _is_participle(word: Word) -> bool:
        """After a noun, whatever the tagger says."""
        if word.text in lexicon.ALWAYS_NOUNS or not word.text.endswith("ing"):
            return False
        return word.kind is Kind.ING or Kind.ING in word.could_be

    def _start_anew(self, position: int) -> Kind:
        self.close(position, "")
        return Kind.ADJECTIVE

    def _is_verb_after_noun(self, word: Word, position: int) -> bool:
        """Whether what the tagger took for a plural is a verb: "a toddler brushes her teeth"."""
        if word.capitalised and self.run.words[-1].capitalised:
            return False  # "a New York Yankees cap"
        if word.text.endswith("ing") and self.at(position + 1).kind is Kind.OPENER:
            return True  # "a train crossing a bridge"
        if Kind.VERB_BASE in word.could_be and self._follows_plural():
            return True  # "two men play chess"
        if not looks_plural(word.text):
            return False
        if self.run.is_singular:
            return True
        next_one = self.at(position + 1)
        direct_object = next_one.kind is Kind.OPENER or next_one.text in lexicon.OBJECT_PRONOUNS
        return Kind.VERB_S in word.could_be and direct_object

    def _follows_plural(self) -> bool:
        if len(self.run.words) > 1 and self.run.words[-1].capitalised:
            return False  # a name
        before = self.run.words[-1].text
        if before.endswith("'s"):
            return False  # "a McDonald's bag"
        compounding = before in lexicon.PLURAL_ONLY or before in lexicon.PLURAL_MODIFIERS
        return singular(before) != before and not compounding

    def _ends_compound(self, word: Word, following: Word) -> bool:
        """ "a train set in a box"; not "a pizza cut into slices"."""
        if not self.run.is_singular or word.text.endswith("ed"):
            return False
        return word.text in lexicon.COMPOUND_HEADS or following.kind is not Kind.PREPOSITION

    def _stands_alone(self, position: int, *, before: int = 0) -> bool:
        """Whether a mark or the caption's end stands on both sides of the run with this word."""
        ahead, behind = self.at(position + 1), self.at(position - before - 1)
        return self.is_list and self._parts(ahead) and self._parts(behind)

    @staticmethod
    def _parts(word: Word) -> bool:
        return word.kind is Kind.MARK or word.text in ("and", "or")

    def _is_bare_compound(self, position: int) -> bool:
        """ "frying pan, mixing bowl", "in sleeping bags"; not "a man on a bench, reading books"."""
        before = self.at(position - 1)
        if self.at(position).text in lexicon.HOLDING:
            return False  # "1girl, holding sword"
        if before.kind is Kind.ING or before.text in ("with", "of", "in"):
            return True
        return self.is_list and self._parts(before)

    def _is_nominal(self, position: int) -> bool:
        """Whether the word may go on a noun phrase, perhaps with those behind it."""
        for ahead in range(position, position + _LOOK_AHEAD):
            word = self.at(ahead)
            if word.kind in (Kind.NOUN, Kind.ADJECTIVE):
                return True
            if word.kind is not Kind.ADVERB and word.could_be_noun:
                return word.kind in (Kind.ING, Kind.PAST, Kind.VERB_S, Kind.VERB_BASE)
            if word.kind not in (Kind.ADVERB, Kind.ING, Kind.PAST):
                return False
        return False
