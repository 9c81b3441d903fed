"""Text from outside: how its bytes are read, how it is mended, and in which form it is compared.

Every foreign text enters here: captions, prompts, phrases, members of JSON, answers of language
models. What is stored is the decoded, mended text in NFC, as people would read it: `mend_text`.
Quotes, hyphens and invisible characters are made alike for comparison only: `text_to_plain`,
`text_to_match_form`. Neither is for ids, names, keys and paths, which stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imig.errors import DataError

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

CURE: Final = "save the file as UTF-8"

_MARKS: Final = (
    # The longer ones first: UTF-32's little-endian mark begins like UTF-16's.
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_TOO_LONG: Final = 200_000
"""Characters: twice as many as a caption may have."""
_ISO_2022: Final = re.compile(rb"\x1b(\$[@AB]|\$[()][A-D]|\([IJ])")
_LINE_END: Final = re.compile(rb"\r\n|\n|\r|\0")


def bytes_to_text(data: bytes, *, where: str) -> str:
    """Bytes -> text, whatever encoding they are in; no byte order mark, else unchanged.

    UTF-8 comes first, then UTF-16 and UTF-32 with and without a mark, ISO-2022, UTF-8 with a few
    bytes of cp1252 among it, and the legacy encodings that `imig.text_encodings` tells apart.

    Parameters
    ----------
    where:
        The file, or the member of an archive, for the message.

    Raises
    ------
    DataError
        The bytes are no text in any of these; it names `where` and the first wrong byte.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode_marked(data, mark, encoding, where=where)
    data = _without_mark(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _decode_other(data, error, where=where)
    if "\0" in text.rstrip("\0"):
        from imig.text_encodings import read_wide

        # Read as UTF-8 it is text with a zero after each letter, or what no text is at all.
        wide = read_wide(data)
        return text if wide is None else wide
    if _ISO_2022.search(data):
        encoding = "iso2022_kr" if b"\x1b$)C" in data else "iso2022_jp_2"
        return _decode_or_none(data, encoding) or text
    return text


@dataclass(frozen=True)
class Line:
    """A line of a text file."""

    number: int
    """From 1."""
    text: str
    """Without its end."""
    data: bytes
    """The same as bytes of the file; in UTF-16 and UTF-32 as UTF-8."""


def bytes_to_lines(data: bytes, *, where: str) -> list[Line]:
    r"""The lines of a file, which end at ``\n``, ``\r\n``, ``\r`` or a zero and at nothing else.

    A file may hold UTF-8 and another encoding: lines that are not UTF-8 are read together.

    Raises
    ------
    DataError
        As `bytes_to_text`; it names the line too.
    """
    if data.startswith(tuple(mark for mark, _ in _MARKS)) or b"\0" in data:
        data = bytes_to_text(data, where=where).encode("utf-8", "surrogatepass")
    # Files that were joined have a mark at the beginning of each.
    raw = [_without_mark(line) for line in _LINE_END.split(data)]
    foreign = {number: line for number, line in enumerate(raw, 1) if not _is_utf8(line)}
    texts = _read_together(foreign, where=where)
    return [
        Line(number, texts[number] if number in texts else bytes_to_text(line, where=where), line)
        for number, line in enumerate(raw, 1)
    ]


def mend_text(text: str) -> str:
    """Text as it is stored: mojibake and HTML entities mended, NFC, nothing that is no text.

    Typographic quotes, ligatures, the width of East Asian letters, emoji and invisible characters
    stay: a good text is changed by NFC alone. Surrogates that are halves become U+FFFD; control
    characters but line ends and tabs go. Mending twice changes nothing.
    """
    for _ in range(_MENDINGS):
        if (mended := _mend_once(text)) == text:
            break
        text = mended
    return text


def to_stored(text: str) -> str:
    """Mended, on one line, single blanks; "" for what has nothing visible in it.

    What is longer than any text of a scene may be stays unmended: mending it takes minutes, and the
    schema turns it down.
    """
    if len(text) > _TOO_LONG:
        return " ".join(text.split())
    for _ in range(_MENDINGS):
        # Again, for what a line's end had kept apart may need mending too.
        if (stored := " ".join(mend_text(text).split())) == text:
            break
        text = stored
    return text if text_to_plain(text) else ""


def text_to_plain(text: str) -> str:
    """Text as detectors and comparisons want it; case, accents and words stay.

    Quotes and hyphens as on a typewriter (U+2011 is ``-``, a dash stands between blanks), nothing
    invisible (soft hyphen, zero width, direction, variation), letters as in NFKC, single blanks.
    """
    if text.isascii():
        return " ".join(text.replace("`", "'").split())
    while (plain := _plain_once(text)) != text:
        text = plain
    return plain


def text_to_match_form(text: str) -> str:
    """Equal for texts that read the same, whatever their quotes, hyphens and case."""
    if text.isascii():
        return text_to_plain(text).lower()
    while (folded := text_to_plain(text).casefold()) != text:
        text = folded
    return folded


def to_encodable(text: str) -> str:
    """What a tokenizer takes: halves of surrogate pairs, which break it, become ``?``."""
    return text.encode("utf-8", "replace").decode()


def find_words(phrase: str, text: str) -> int | None:
    """Where whole words stand in a text, in letters of its match form; None: nowhere."""
    wanted = re.escape(text_to_match_form(phrase))
    found = re.search(rf"(?<!\w){wanted}(?!\w)", text_to_match_form(text))
    return None if found is None or not wanted else found.start()


def first_of_alike(texts: Iterable[str]) -> list[str]:
    """Those that read differently, in their order; of those that read alike the first.

    What shows nothing (blanks, zero width) is left out.
    """
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(text_to_match_form(text), text)
    return [text for form, text in found.items() if form]


def _without_mark(data: bytes) -> bytes:
    """Without UTF-8's mark, of which some programs put one before another's."""
    while data.startswith(_UTF_8_MARK):
        data = data[len(_UTF_8_MARK) :]
    return data


def _decode_marked(data: bytes, mark: bytes, encoding: str, *, where: str) -> str:
    """What a byte order mark announces; a torn last character is dropped."""
    body = data[len(mark) :]
    body = body[: len(body) - len(body) % (4 if "32" in encoding else 2)]
    try:
        return body.decode(encoding, "strict" if "32" in encoding else "replace")
    except UnicodeDecodeError as error:
        raise _undecodable(data, len(mark) + error.start, where, f" ({encoding})") from error


def _decode_other(data: bytes, error: UnicodeDecodeError, *, where: str) -> str:
    from imig.text_encodings import read_legacy, read_wide

    text = _decode_utf8_of_java(data)
    if text is None and b"\0" in data.rstrip(b"\0"):
        text = read_wide(data)
    elif text is None:
        text = read_legacy(data.rstrip(b"\0"))
    if text is None:
        raise _undecodable(data, error.start, where) from error
    return text


def _decode_utf8_of_java(data: bytes) -> str | None:
    """UTF-8 whose emoji are pairs of surrogates of three bytes each, as Java and MySQL write it."""
    if b"\xed" not in data and b"\xc0\x80" not in data:
        return None
    try:
        text = data.replace(b"\xc0\x80", b"\0").decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    # Only pairs are characters.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode_or_none(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_utf8(data: bytes) -> bool:
    return _decode_or_none(data, "utf-8") is not None


def _read_together(lines: Mapping[int, bytes], *, where: str) -> dict[int, str]:
    """Lines that are not UTF-8: together they tell more about their encoding than each alone."""
    if not lines:
        return {}
    joined = b"\n".join(lines.values())
    try:
        texts = bytes_to_text(joined, where=where).split("\n")
    except DataError:
        texts = []
    if len(texts) == len(lines):
        return dict(zip(lines, texts, strict=True))
    return {
        number: bytes_to_text(line, where=f"{where}:{number}") for number, line in lines.items()
    }


def _undecodable(data: bytes, byte: int, where: str, encoding: str = "") -> DataError:
    found = f" (0x{data[byte]:02x})" if byte < len(data) else ""
    return DataError(
        f"{where}: byte {byte}{found} is in no encoding that is known{encoding}", cure=CURE
    )


_MENDINGS: Final = 8
"""At most: what was broken twice is mended twice."""
_MAY_NEED_MENDING: Final = re.compile(r"&#?\w+;|[^\n\t -~]")


def _mend_once(text: str) -> str:
    if text.isascii() and not _MAY_NEED_MENDING.search(text):
        return text
    import ftfy  # a tenth of a second, which many commands never need

    mended = ftfy.fix_text(text, _mending())
    return "".join(one for one in mended if one in "\n\t" or unicodedata.category(one) != "Cc")


def _mending() -> TextFixerConfig:
    from ftfy import TextFixerConfig

    return TextFixerConfig(
        unescape_html=True,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        explain=False,
    )


def _plain_once(text: str) -> str:
    alike = unicodedata.normalize("NFKC", text.translate(_ALIKE))
    return " ".join(alike.translate(_ALIKE).split())


class _Alike(dict[int, str | None]):
    """What `str.translate` makes of a character; filled as characters come."""

    def __missing__(self, code: int) -> str | None:
        one = chr(code)
        halves = "\ud800" <= one <= "\udfff"
        self[code] = None if _is_invisible(one) else "\ufffd" if halves else one
        return self[code]


def _is_invisible(one: str) -> bool:
    """Of no width: format characters (Cf), and the variation selectors among the marks."""
    return unicodedata.category(one) == "Cf" or one in _INVISIBLE_MARKS


_INVISIBLE_MARKS: Final = frozenset(
    [*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0)), "\u034f", "\u180b",
     "\u180c", "\u180d", "\u115f", "\u1160", "\u3164", "\uffa0"]
)  # fmt: skip
_ALIKE: Final = _Alike(
    {
        **dict.fromkeys(map(ord, "‘’‚‛ʹʻʼʽˈ′‵`´＇ꞌ"), "'"),
        **dict.fromkeys(map(ord, "“”„‟″‶«»＂ˮ"), '"'),
        **dict.fromkeys(map(ord, "‐‑‒–−﹣－⁃"), "-"),
        **dict.fromkeys(map(ord, "—―﹘⸺⸻"), " - "),
        **dict.fromkeys(map(ord, "™®©℠"), " "),
    }
)
