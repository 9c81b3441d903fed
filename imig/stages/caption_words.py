"""A caption's words and marks: what no reader of English should have to know about prompts.

Weights and switches of image generators, tags, addresses and underscores are taken out; names with
points, digits, hyphens and apostrophes ("U.S.", "MP3", "St.", "jack-o'-lantern") stay one word.
"""

from __future__ import annotations

import re

_LETTER = r"[^\W_][\u0300-\u036f]*"
_WORD = rf"(?:{_LETTER})+"

_NOT_WORDS = re.compile(
    r"<[^<>]{0,200}>"  # <lora:name:0.8>
    r"|\b(?:https?://|www\.)\S+"
    r"|(?:^|(?<=\s))--?[a-z]+(?:\s+\d[\d.:]*)?(?=\s|$)"  # --ar 16:9
    r"|:\d+(?:\.\d+)?(?=\s*[)\]])",  # (red dress:1.3)
    re.IGNORECASE,
)

_TOKEN = re.compile(
    r"\d+(?:[.,:/]\d+)*(?![^\W_]|-)"
    rf"|(?:{_LETTER}\.){{2,}}"
    r"|(?:st|dr|mr|mrs|ms|mt|prof)\.(?=\s*[^\W\d_])"
    r"|(?-i:[A-Z][a-z]?\.(?:[A-Z]\.)+)"  # "Ph.D."
    r"|(?-i:[A-Z]\.)(?=\s[^\W\d_]|(?-i:[A-Z][a-z]))"  # "T. rex", "J.Crew"
    r"|(?-i:[A-Z](?:/[A-Z])+)(?![^\W_])"  # "A/C"
    r"|(?-i:[A-Z])(?:\+\+|\#)(?![^\W_])"  # "C++"
    rf"|{_WORD}(?:(?:'?-|'(?!s\b)|&){_WORD})*"
    r"|'s\b"
    r"|[^\s\w]",
    re.IGNORECASE,
)

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "_": " "})


def caption_to_words(caption: str) -> list[str]:
    """Words and punctuation marks in order, in the caption's case.

    A line break is a mark of its own, since lists are written one thing a line. A caption all in
    capitals comes back in lower case: there, capitals tell no names.
    """
    text = _NOT_WORDS.sub(" ", caption.translate(_APOSTROPHES))
    if text.isupper() and len(text.split()) > 2:
        text = text.lower()
    lines = (_TOKEN.findall(line) for line in text.splitlines())
    words: list[str] = []
    for line in lines:
        words.extend([*line, ";"] if line else [])
    return words[:-1]


def is_word(token: str) -> bool:
    """Whether a token has a letter; marks and bare numbers have none."""
    return any(sign.isalpha() for sign in token)


def is_capitalised(token: str) -> bool:
    """Whether it has a capital, as names have: "Paris", "iPhone"."""
    return any(sign.isupper() for sign in token)
