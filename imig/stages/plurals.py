"""English plurals -> singulars, by a dictionary where it has the word, by endings where not."""

from __future__ import annotations

from functools import lru_cache

from imig.stages import lexicon


@lru_cache(maxsize=8192)
def singular(noun: str) -> str:
    """English plural -> singular; what is no plural stays.

    The dictionary is lemminflect's (of the SPECIALIST Lexicon). "passers-by" becomes "passer-by".
    """
    if not noun.isascii() or noun in lexicon.PLURAL_ONLY or noun in lexicon.SINGULAR_IN_S:
        return noun
    if noun in lexicon.IRREGULAR_PLURALS:
        return lexicon.IRREGULAR_PLURALS[noun]
    if noun.endswith("es") and noun[:-2] in lexicon.SINGULAR_IN_S:
        return noun[:-2]
    if "-" in noun:
        return _of_hyphenated(noun)
    lemmas = _dictionary_lemmas(noun)
    if lemmas:
        # of several ("axes": ax, axe, axis) the one nearest to the plural
        others = [lemma for lemma in lemmas if lemma != noun and looks_plural(noun)]
        if others:
            return max(others, key=lambda one: (noun in (one + "s", one + "es"), "-" not in one))
        return noun if noun in lemmas else lemmas[0]
    return _by_ending(noun)


def looks_plural(word: str) -> bool:
    if word in lexicon.PLURAL_ONLY or word in lexicon.SINGULAR_IN_S or len(word) < 4:
        return False
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def _of_hyphenated(noun: str) -> str:
    """The plural stands before a preposition ("sisters-in-law") or at the end ("t-shirts")."""
    parts = noun.split("-")
    head = next(
        (n - 1 for n, part in enumerate(parts) if n and part in lexicon.PREPOSITIONS),
        len(parts) - 1,
    )
    parts[head] = singular(parts[head]) if parts[head] else ""
    return "-".join(parts)


def _dictionary_lemmas(noun: str) -> tuple[str, ...]:
    from lemminflect import getAllLemmas  # imports numpy and a table of 80,000 forms

    return tuple(getAllLemmas(noun, upos="NOUN").get("NOUN", ()))


def _by_ending(noun: str) -> str:
    for plural, one in lexicon.IRREGULAR_PLURALS.items():
        if len(plural) > 4 and noun.endswith(plural):
            return noun[: -len(plural)] + one  # "headscarves"
    if noun.endswith("men") and len(noun) > 5:
        return noun[:-3] + "man"
    if noun.endswith("s") and len(noun) > 2 and not set(noun[:-1]) & set("aeiouy"):
        return noun[:-1]  # "tvs"
    if noun.endswith("is") and noun[:-1] in _dictionary_lemmas(noun[:-1]):
        return noun[:-1]  # "zucchinis"
    if not looks_plural(noun):
        return noun
    candidates = _candidates(noun)
    known = [one for one in candidates if one in _dictionary_lemmas(one)]
    return (known or candidates)[0]


def _candidates(noun: str) -> list[str]:
    """Singulars that the ending allows, the likelier first."""
    if noun.endswith("ies") and len(noun) > 4:
        return [noun[:-3] + "y", noun[:-1]]
    if noun.endswith(("ches", "shes", "xes", "sses", "zzes", "oes", "uses")):
        return [noun[:-2], noun[:-1]]
    return [noun[:-1]]
