"""Captions -> noun phrases to look for, by rules, without a model.

A phrase is a run of adjectives and nouns between words that cannot be part of one (determiners,
prepositions, verbs, punctuation). Its head, the last word, is put into the singular, since a
detector asked for "dog" finds all dogs. Phrases whose head names no object (`lexicon.ABSTRACT`)
or the surroundings (`lexicon.SURROUNDINGS`) are left out.

Limits: English only. There is no tagger: a finite verb outside `lexicon.VERBS` after a plural
("dogs gallop") is taken for a noun, a noun that is also such a verb ("two rides") for a verb
unless an article, number or adjective precedes it; adjectives after their noun are lost.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from imig.stages import lexicon

_TOKEN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+|'s\b|[^\s\w]")
_JOINERS = frozenset({"and", ",", "&"})


def caption_to_phrases(caption: str, *, ignored: Collection[str] = ()) -> list[str]:
    """Noun phrases in the caption's order, lower case, without articles and numbers, each once.

    Phrases whose head noun is among `ignored` (singular) are left out.
    """
    text = caption.lower().replace("’", "'")
    phrases = [_finish(words, after) for words, after in _chunks(_TOKEN.findall(text))]
    named = [phrase for phrase in phrases if phrase and head_noun(phrase) not in ignored]
    return list(dict.fromkeys(named))


def head_noun(phrase: str) -> str:
    """The last word before a preposition: "cup" of "white cup of coffee"."""
    words = phrase.split()
    for position, word in enumerate(words):
        if position and word in lexicon.PREPOSITIONS:
            return words[position - 1]
    return words[-1]


def singular(noun: str) -> str:
    """English plural -> singular; what is no plural stays."""
    if noun in lexicon.IRREGULAR_PLURALS:
        return lexicon.IRREGULAR_PLURALS[noun]
    if not _looks_plural(noun):
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses", "zzes", "oes")):
        return noun[:-2]
    return noun[:-1]


def _looks_plural(word: str) -> bool:
    if word in lexicon.PLURAL_ONLY or word in lexicon.SINGULAR_IN_S or len(word) < 4:
        return False
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


@dataclass
class _Chunk:
    """The run being read: its words, and the determiner or number before it."""

    words: list[str] = field(default_factory=list)
    opener: str = ""

    @property
    def only_adjectives(self) -> bool:
        return all(word == "and" or _is_adjective(word) for word in self.words)

    @property
    def expects_noun(self) -> bool:
        """Whether an article or adjectives stand before, and no noun yet."""
        return (bool(self.opener) or bool(self.words)) and self.only_adjectives

    @property
    def closed_by_s(self) -> bool:
        """ "a cat naps": after a/an and a noun, a word in -s is a verb."""
        return self.opener in ("a", "an") and not self.only_adjectives


def _chunks(tokens: list[str]) -> list[tuple[list[str], str]]:
    """Runs of words, each with the token that ended it."""
    found: list[tuple[list[str], str]] = []
    chunk = _Chunk()
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if token in lexicon.DETERMINERS or token in lexicon.NUMBERS or token.isdigit():
            found.append((chunk.words, token))
            chunk = _Chunk(opener=token)
        elif (
            token in _JOINERS
            and chunk.words
            and chunk.only_adjectives
            and (_is_adjective(following))
        ):
            if token != ",":
                chunk.words.append("and")  # "a red and white bus"
        elif _continues(token, following, chunk):
            chunk.words.append(token)
        else:
            found.append((chunk.words, token))
            chunk = _Chunk()
    found.append((chunk.words, ""))
    return [(words, after) for words, after in found if words]


def _continues(token: str, following: str, chunk: _Chunk) -> bool:
    """Whether a word belongs to the noun phrase being read."""
    if not token[0].isalpha() or token in lexicon.FUNCTION_WORDS:
        return False
    if token in ("left", "right", "front", "back", "top", "bottom") and following == "of":
        return chunk.expects_noun and bool(chunk.words)
    if token in lexicon.PREPOSITIONS:
        return False
    if token.endswith("ly") and len(token) > 5 and token not in ("family", "butterfly"):
        return False
    if token in lexicon.COMPOUND_PARTICIPLES:
        return True
    if token in lexicon.VERBS:
        return chunk.expects_noun
    if _is_participle(token):
        # "a striped car", "a sleeping cat"; yet "a man riding a horse", "a table topped with".
        opens = not chunk.words or chunk.only_adjectives
        return opens and bool(following) and _may_follow_adjective(following)
    return not (chunk.closed_by_s and _looks_plural(token))


def _is_participle(word: str) -> bool:
    return len(word) > 4 and word.endswith(("ing", "ed")) and word not in lexicon.NOT_PARTICIPLES


def _may_follow_adjective(word: str) -> bool:
    return word[0].isalpha() and not (
        word in lexicon.DETERMINERS
        or word in lexicon.NUMBERS
        or word in lexicon.PREPOSITIONS
        or word in lexicon.FUNCTION_WORDS
    )


def _is_adjective(word: str) -> bool:
    return (
        word in lexicon.ADJECTIVES
        or _is_participle(word)
        or (len(word) > 5 and word.endswith(lexicon.ADJECTIVE_ENDINGS))
    )


def _finish(words: list[str], after: str) -> str:
    """The phrase of a run, "" when it names nothing to look for."""
    head = words[-1]
    if head in lexicon.ABSTRACT or head in lexicon.SURROUNDINGS:
        return ""
    if after == "of" and head in lexicon.MEASURES:
        return ""
    if all(word == "and" or _is_adjective(word) for word in words) and head != "orange":
        return ""
    noun = singular(head)
    if noun in lexicon.ABSTRACT or noun in lexicon.SURROUNDINGS:
        return ""
    return " ".join([*words[:-1], noun])
