"""The key of an endpoint, taken out of everything that its server says.

Servers repeat what they were sent: in the words of an error, in a dump of the headers, in an answer
that a model was talked into. What they say is kept in quarantines, prompts, scenes and logs.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

HIDDEN: Final = "[key]"
"""What stands in its place."""
_PLACEHOLDER: Final = 8
"""Characters; shorter ones of letters alone (none, EMPTY, ollama) are what servers without keys are
given, and words that answers need."""
_SHORTEST_PIECE: Final = 8
_LONGEST_PIECE: Final = 16
"""Characters of a key in a row that are hidden by themselves: half of it, within these bounds."""
_BETWEEN: Final = r"[\s\\\u00ad\u200b-\u200d\u2060\ufeff]{0,12}"
"""What may stand between two characters of a key that was wrapped, spaced out or escaped. Bounded,
as all repetitions here: a text of blanks or backslashes would take for ever."""
_LOGGERS: Final = (
    "httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy",
    "httpcore.socks", "openai._base_client",
)  # fmt: skip
"""Of the client library and what it is made of; the latter two also with a 2 behind their names."""
_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
"""Of ASCII alone: every character stays one."""


def hide_key(text: str, key: str | None) -> str:
    """A text of the server without the key.

    It is found in upper and lower case, spaced out or broken into lines, percent-encoded, escaped
    as in JSON, HTML or Python, in hex and Base64 (also as a part of what is encoded); pieces of it
    are found where they are long enough to be of use to anybody.
    """
    if not is_secret(key):
        return text
    found = _spans(text, key)
    parts, end = [], 0
    for start, stop in found:
        if start >= end:
            parts += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*parts, text[end:]]) if found else text


def hide_key_in_json(value: Any, key: str | None) -> Any:
    """JSON values without the key; names of members too. `value` itself stays as it is.

    Raises RecursionError for values that are nested too deeply.
    """
    if isinstance(value, str):
        return hide_key(value, key)
    if isinstance(value, list):
        return [hide_key_in_json(one, key) for one in value]
    if isinstance(value, dict):
        return {hide_key(name, key): hide_key_in_json(one, key) for name, one in value.items()}
    return value


def hide_key_in_body(body: bytes, key: str | None) -> bytes:
    """A body of the server, JSON or not, without the key; the same bytes where it has none."""
    if not is_secret(key):
        return body
    try:
        value = json.loads(body)
        hidden = hide_key_in_json(value, key)
        if hidden != value:
            return json.dumps(hidden).encode()
    except (ValueError, RecursionError):
        pass  # no JSON, or none that anybody can read
    text = body.decode(errors="surrogateescape")
    hidden_text = hide_key(text, key)
    return body if hidden_text == text else hidden_text.encode(errors="surrogateescape")


def is_secret(key: str | None) -> bool:
    """Whether it is a key at all, and no placeholder."""
    return bool(key) and not (len(key or "") < _PLACEHOLDER and (key or "").isalpha())


def hide_key_in_logs(key: str | None) -> None:
    """From now on the client library's logs, which may show a server's headers, lack this key."""
    if key is None or not is_secret(key) or key in _FILTER.keys:
        return
    _FILTER.keys.add(key)
    for name in _LOGGERS:
        for one in (name, re.sub("^(httpx|httpcore)", r"\g<1>2", name)):
            logging.getLogger(one).addFilter(_FILTER)


class _KeyFilter(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.keys: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for key in self.keys:
            text = hide_key(text, key)
        record.msg, record.args = text, ()
        return True


_FILTER: Final = _KeyFilter()


def _spans(text: str, key: str | None) -> list[tuple[int, int]]:
    """Where the key or a piece of it stands, sorted."""
    assert key is not None
    patterns = _patterns(key)
    found = [match.span() for pattern in patterns for match in pattern.finditer(text)]
    return sorted([*found, *_pieces(text.translate(_LOWER), key.translate(_LOWER))])


def _pieces(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Where the text has so many of the key's characters in a row.

    Such a row has one of the key's blocks of half that length in it: these are looked for.
    """
    shortest = min(max(_SHORTEST_PIECE, (len(key) + 1) // 2), _LONGEST_PIECE)
    if len(key) < shortest:
        return
    block = (shortest + 1) // 2
    for at in range(0, len(key) - block + 1, block):
        place = text.find(key[at : at + block])
        while place >= 0:
            start, first = place, at
            while start > 0 and first > 0 and text[start - 1] == key[first - 1]:
                start, first = start - 1, first - 1
            stop, last = place + block, at + block
            while stop < len(text) and last < len(key) and text[stop] == key[last]:
                stop, last = stop + 1, last + 1
            # A word of a key that is made of words is a word of the language.
            if stop - start >= shortest and not text[start:stop].isalpha():
                yield start, stop
            place = text.find(key[at : at + block], place + 1)


@lru_cache(maxsize=16)
def _patterns(key: str) -> tuple[re.Pattern[str], ...]:
    """The whole key, in all ways of writing it."""
    written = _BETWEEN.join(_character(one) for one in key)
    hexadecimal = "[\\s:,-]{0,4}".join(f"(?:0x)?{ord(one):02x}" for one in key)
    encoded = "|".join(sorted({re.escape(one) for one in _base64(key) if one}))
    return (
        re.compile(written, re.IGNORECASE),
        re.compile(hexadecimal, re.IGNORECASE),
        re.compile(encoded),
    )


def _character(character: str) -> str:
    """As a pattern: itself, %41, %2541, \\u0041, \\x41, &#65;, &#x41;."""
    code = ord(character)
    return (
        rf"(?:{re.escape(character)}|%(?:25){{0,3}}{code:02x}"
        rf"|\\{{1,4}}u00{code:02x}|\\{{1,4}}u\{{0{{0,4}}{code:x}\}}|\\{{1,4}}x{code:02x}"
        rf"|&(?:amp;)?#0{{0,4}}{code};|&(?:amp;)?#x0{{0,4}}{code:x};)"
    )


def _base64(key: str) -> Iterator[str]:
    """The characters that the key gives alone, wherever in what is encoded it begins."""
    for before in range(3):
        data = bytes(before) + key.encode()
        first = (before * 8 + 5) // 6  # the first character that has no bit of what stands before
        last = len(data) * 8 // 6
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            yield alphabet(data).decode()[first:last]
