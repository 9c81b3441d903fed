"""Finds the JSON values in a language model's words, and reads them as they are meant.

A value is read as JSON where it is JSON. Where it is not, json-repair mends it, and what it made
counts only if it holds the very letters that were written, no more and no fewer: punctuation may be
mended, content is neither dropped nor made up. What was cut off is never completed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import json_repair

from imig.models.thoughts import CLOSES, MARK

_OPENER: Final = re.compile(rf"(?P<value>[{{\[])|{MARK.pattern}", MARK.flags)
_QUOTES: Final = {
    '"': '"', "'": "'", "`": "`", "“": "”“\"", "„": "”“\"", "”": "”\"", "‘": "’‘'", "’": "’'",
}  # fmt: skip
"""A quote -> those that may end what it begins."""
_KEY: Final = r"""(?:["'“”„‘’`][^"'“”„‘’`{}\[\]]*["'“”„‘’`]|[A-Za-z_]\w*)\s*[:：]"""
_FULL_WIDTH: Final = {"：": ":", "，": ","}
"""What models write between Chinese words, outside of strings too."""
_OBJECT_WITH_KEY: Final = re.compile(rf"\{{\s*{_KEY}")
_NAME_AS_KEY: Final = re.compile(r"\{\s*\w")
_LOOKS_LIKE_OBJECT: Final = re.compile(
    r"""\{\s*(?:["'“”„‘’`}{]|//|/\*|\#|[A-Za-z_]\w*\s*:)""", re.VERBOSE
)
_LOOKS_LIKE_ARRAY: Final = re.compile(r"""\[\s*["'“„‘`{\[\]]""")
_ESCAPED: Final = re.compile(r'[{\[](?:\s|\\+[nrt])*(?:\{(?:\s|\\+[nrt])*)?\\+(?:"|[nrt]\s*")')
_ENDS_STRING: Final = re.compile(
    r"""\s*(?:\Z|[}\]:：]|//|/\*|[,，]\s*(?:\Z|["'“„‘`{\[}\]\-\d/#]|(?:true|false|null|none)\b|\w+\s*:))
    |\s+["“]|[ \t]*\n\s*["“'}\]]""",
    re.VERBOSE | re.IGNORECASE,
)
"""After a quote: what says that it ended the string, and was not just written inside it."""
_VALUE_POSITION: Final = re.compile(r"""(?:[\[,{]|["'”’]\s{0,9}:)\s{0,99}\Z""")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_OPENING_RUN: Final = re.compile(r"[{\[](?:\s*\[)*")
_REST: Final = re.compile(r"\s*(?:```+\s*|</?\w+>\s*|<\|[^|<>]*\|>\s*|\[END[ A-Z]*\]\s*)*\Z")
"""What may follow the end of an answer: a fence, a closing tag, marks of a chat template."""
_MOST_MATCHED: Final = 400_000
"""Characters that are looked at to match braces, in all: no text keeps us busy for long."""
_MOST_FAILURES: Final = 2_000
"""Braces and brackets that begin nothing, in all; what has more is a model that repeats itself."""
_DEEPEST: Final = 3
"""JSON in a string within JSON, and so on."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
"""Takes raw line ends within strings, which models write more often than not."""


@dataclass
class Reading:
    """What JSON a text holds."""

    values: list[Any] = field(default_factory=list)
    """Objects and arrays, outermost ones, in their order; those within thoughts left out."""
    broken: bool = False
    """Some looked like JSON and could not be read."""
    breaks_off: bool = False
    """The last one was cut off."""
    thoughts: bool = False
    """There were thoughts, and nothing beside them could be read."""


class _Reader:
    def __init__(self, text: str, depth: int) -> None:
        self._text = text
        self._depth = depth
        self._left = _MOST_MATCHED
        self._failures = 0
        self._reading = Reading()
        self._cut = False
        """Within an object that never ends."""
        self._end = 0
        """Of the last value."""

    def read(self) -> Reading:
        text, reading, position = self._text, self._reading, 0
        never_closed: set[int] = set()
        before: list[Any] | None = None
        while (found := _OPENER.search(text, position)) is not None:
            name = found.lastgroup or ""
            if name == "value":
                position = self._value_at(found.start())
                continue
            reading.thoughts = True
            position = max(found.end(), position + 1)
            if name.startswith("stray"):
                # All so far were thoughts.
                reading.values, self._cut, before = [], False, None
                continue
            kind = int(name.removeprefix("open"))
            close = None if kind in never_closed else CLOSES[kind].search(text, found.end())
            if close is not None:
                position = max(close.end(), position)
            else:
                never_closed.add(kind)
                before = reading.values if before is None else before
                reading.values = []
        if before is not None:
            # Thoughts that never end: what stands at the very end may be meant as the answer.
            whole = reading.values and _REST.match(text, self._end)
            reading.values = reading.values[-1:] if whole else before
        reading.breaks_off = self._cut
        reading.thoughts &= not reading.values
        return reading

    def _value_at(self, start: int) -> int:
        """Read what begins at a brace or bracket; returns where to go on."""
        text, is_object = self._text, self._text[start] == "{"
        if self._cut and _VALUE_POSITION.search(text[max(0, start - 110) : start]):
            return start + 1  # part of what was cut off
        if _ESCAPED.match(text, start):
            return self._escaped_at(start)
        looks = _LOOKS_LIKE_OBJECT if is_object else _LOOKS_LIKE_ARRAY
        if not looks.match(text, start):
            return start + 1
        if self._failures >= _MOST_FAILURES:
            self._cut = True  # whatever it is, it is no whole answer
            return len(text)
        self._failures += 1
        try:
            value, end = _DECODER.raw_decode(text, start)
        except RecursionError:
            return _OPENING_RUN.match(text, start).end()  # type: ignore[union-attr]
        except ValueError:
            pass
        else:
            return self._keep(value, end)
        matched = self._match(start)
        if matched is not None and MARK.search(text, start, matched.end) is None:
            value = _repaired(matched)
            if isinstance(value, dict if is_object else list):
                return self._keep(value, matched.end)
        if not is_object:
            return start + 1
        if not _OBJECT_WITH_KEY.match(text, start):
            return start + 1
        if matched is None and self._reading.values and _NAME_AS_KEY.match(text, start):
            return start + 1  # words after the answer
        self._reading.broken = True
        if matched is not None:
            return matched.end
        self._cut = True
        return start + 1

    def _keep(self, value: Any, end: int) -> int:
        self._reading.values.append(value)
        self._failures -= 1
        self._cut, self._end = False, end
        return end

    def _escaped_at(self, start: int) -> int:
        """JSON within a JSON string: a whole string, or its escapes alone."""
        text = self._text
        if self._depth >= _DEEPEST:
            return start + 1
        quote = len(text[:start].rstrip()) - 1
        if quote >= 0 and text[quote] == '"':
            try:
                inner, end = _DECODER.raw_decode(text, quote)
            except ValueError:
                inner, end = "", 0
            if isinstance(inner, str) and end > start:
                return self._take(_Reader(inner, self._depth + 1).read(), end)
        # Where only line ends are escaped, quotes are JSON's own.
        all_ = _ESCAPED.match(text, start)[0].endswith('\\"')  # type: ignore[index]
        escapes = r'\\(["\\nrt])' if all_ else r"\\([nrt])"
        plain = re.sub(escapes, lambda one: _ESCAPES.get(one[1], one[1]), text[start:])
        return self._take(_Reader(plain, self._depth + 1).read(), len(text))

    def _take(self, inner: Reading, end: int) -> int:
        self._reading.broken |= inner.broken
        if inner.values:
            self._reading.values += inner.values
            self._end = end
        self._cut = inner.breaks_off
        return end

    def _match(self, start: int) -> _Matched | None:
        """Where what begins at `start` ends, quotes of all kinds considered; None: nowhere."""
        text, position = self._text, start
        open_: list[str] = []
        parts: list[str] = []
        sound = True
        closers = ""
        while position < len(text) and self._left > 0:
            self._left -= 1
            character = text[position]
            if closers:
                if character == "\\":
                    escape = text[position : position + 2]
                    parts.append(escape if _ESCAPE.match(text, position) else escape[1:])
                    position += 2
                    continue
                if character in closers and _ENDS_STRING.match(text, position + 1):
                    closers = ""
                    parts.append('"')
                else:
                    # An object within a string: its quotes are missing, or those of the string.
                    sound &= _LOOKS_LIKE_OBJECT.match(text, position) is None
                    parts.append('\\"' if character == '"' else character)
                position += 1
                continue
            character = _FULL_WIDTH.get(character, character)
            if character in "{[":
                open_.append("}" if character == "{" else "]")
            elif character in "}]":
                sound &= open_.pop() == character
                if not open_:
                    parts.append(character)
                    return _Matched("".join(parts), position + 1, sound)
            elif character in _QUOTES and _begins_string(character, parts):
                closers = _QUOTES[character]
                sound &= text[position : position + 3] not in ('"""', "'''")
                character = '"'
            elif (comment := _COMMENT.match(text, position)) is not None:
                parts.append(" ")
                position = comment.end()
                continue
            parts.append(character)
            position += 1
        return None


_COMMENT: Final = re.compile(r"//[^\n]*|/\*(?s:.*?)\*/|(?<=\s)\#[^\n]*")
_ESCAPE: Final = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


@dataclass(frozen=True)
class _Matched:
    text: str
    """Its strings between JSON's quotes, comments left out."""
    end: int
    sound: bool
    """Brackets and quotes make sense; else nothing is mended."""


def _begins_string(quote: str, before: list[str]) -> bool:
    """Apostrophes stand anywhere; a string begins where JSON has one."""
    if quote == '"':
        return True
    for part in reversed(before):
        if not part.isspace():
            return part in "{[,:"
    return False


def read_values(text: str) -> Reading:
    """The JSON values of a text that are not part of thoughts. Never raises."""
    return _Reader(text, 0).read()


def _repaired(matched: _Matched) -> Any:
    """What json-repair makes of it; None where that is not what was written."""
    if not matched.sound:
        return None
    text = matched.text
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = json_repair.loads(text, skip_json_loads=True)
        written = json.dumps(value, ensure_ascii=False)
    except Exception:  # a parser of broken text, in whose every fault the text is at fault
        return None
    if _letters(written) != _letters(text) or written.count('""') > text.count('""'):
        return None  # something was dropped, or made up
    return value


def _letters(text: str) -> str:
    """What was written, without JSON's punctuation."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\([nrtbf])|\\(.)", lambda found: found[2] or "", text)
    text = re.sub(r"\bnone\b", "null", text, flags=re.IGNORECASE)
    text = re.sub('[\\s{}\\[\\]:,"\\\\]', "", text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").casefold()
