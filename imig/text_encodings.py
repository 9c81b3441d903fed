"""Which legacy encoding some bytes are in, told from captions of a few words.

Detectors want pages: of captions of three to eight words charset-normalizer gets half right (it
reads "a ni\xf1o" as Big5). Here every candidate decodes, and the text that costs the fewest bits
under a plain model of letters wins: a letter costs the more, the rarer it is where the encoding is
used; capitals inside a word, symbols between letters and scripts mixed in a word cost extra. ASCII
costs the same in all candidates, so that only what differs decides. Equal texts: the first wins.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Final

_LOOKED_AT: Final = 4000
"""Characters that the model reads."""

# Letters by falling frequency. Orders are coarse: what counts is which letters are usual at all.
_WESTERN: Final = "éäüöàèáíóñçåøæãâêôúßîëïùòìõûœ"
_CENTRAL: Final = "ąęłżśćóńźáéíčžšřěýůúťďňőűöüäôľĺŕăâîşţđ"
_TURKISH: Final = "ıişğüçöâîû"
_BALTIC: Final = "šžāēīūčņļķģąęėįųõäöü"
_CYRILLIC: Final = "оеаинтсрвлкмдпуяызьбгчйхжшюцщэфъёіїєґўјљњћђџѓќѕ"
_GREEK: Final = "αοιετσνηυρπκμλςωίάόγέδήχθύφβώξζψϊϋΐΰ"
_HEBREW: Final = "יוהלאתרבשמדנחעפקסכטגזםןץףך"
_THAI: Final = "านรกอ่เงมลวั้ติยสปดทคหบพจแขใชไะีุืูถผซธณศฟภญ็์ำโฉษฐ"
_ARABIC: Final = "اليمنرتبوهسدعفكقحجشطصخةأىءغضذثزئظؤإآپچژگ"
_HANZI: Final = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经"
    "么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全"
    "三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任"
    "常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必"
    "場車這個們來為國時會對說學後過發裡種經麼現當沒動還進樣從實軍無與長機關點業將兩間問戰頭體見產話給門東聲員論處義條氣題爾別變"
    "总電數報結紅红色狗猫貓花草树樹桌椅车鸟鳥马馬房山云雲黑白蓝藍绿綠黄黃坐站跑吃男孩街路边邊旁木石衣帽杯瓶球"
)
_KANJI: Final = (
    "日一国人年大十二本中長出三時行見月後前生五間上東四今金九入学高円子外八六下来気小七山話女北午百書先名川千水半男西電校語土木聞"
    "食車何南万毎白天母火右読友左休父雨赤青黒黄緑犬猫鳥花草空海道家机椅子立座走歩持着写真色部屋街店手足目口"
)
_SYLLABLES: Final = (
    "이다는에가을고의하지를은사한로기나자어리인아시라도서있스그대해일정보수전만들과주안장여부상으게우소제니해면동조거구마요원러오"
    "비모내세신화연물미공성실와중유무생민구분경방양개문식용선발할위한년음무바람간남녀집차길빨파란노검흰컵책꽃새말물고양강아지의"
)

_TYPOGRAPHIC: Final = "‘’“”–—…"
_USUAL_SYMBOLS: Final = "«»„‚•·°©®™€£½¼¾²³º¿¡§±×„ªµ→"
_FULL_WIDTH: Final = "、。，！？；：（）「」『』・ー《》〈〉【】～　"

_CASE_BITS: Final = 10.0
_RUN_BITS: Final = 2.0
"""Less for a capital after a capital."""
_MIXED_BITS: Final = 12.0
_SWITCH_BITS: Final = 3.0
_ASCII_BITS: Final = 4.0
_INSIDE_BITS: Final = 8.0
_ZERO_BITS: Final = 12.0

_USUAL_CONTROLS: Final = frozenset("\t\n\v\f\r\x1a\x1b")
"""Among them DOS's end of file, and what begins the colours of a terminal."""


@dataclass(frozen=True)
class _Candidate:
    """An encoding, the letters that are usual in it, and what it costs to think of it at all."""

    codec: str
    letters: str
    bits: float
    han: str = ""
    kana: bool = False
    hangul: bool = False


_CANDIDATES: Final = (
    _Candidate("cp1252", _WESTERN, 0),
    _Candidate("cp1251", _CYRILLIC, 4),
    _Candidate("gb18030", "", 4, han=_HANZI),
    _Candidate("cp932", "", 4, han=_KANJI, kana=True),
    _Candidate("cp949", "", 5, hangul=True),
    _Candidate("big5", "", 5, han=_HANZI),
    _Candidate("euc_jp", "", 5, han=_KANJI, kana=True),
    _Candidate("cp1250", _CENTRAL, 5),
    _Candidate("koi8_r", _CYRILLIC, 6),
    _Candidate("cp1253", _GREEK, 6),
    _Candidate("cp1254", _TURKISH, 6),
    _Candidate("cp1255", _HEBREW, 6),
    _Candidate("cp1256", _ARABIC, 6),
    _Candidate("cp874", _THAI, 6),
    _Candidate("iso8859_2", _CENTRAL, 7),
    _Candidate("cp1257", _BALTIC, 6),
    _Candidate("koi8_u", _CYRILLIC, 8),
    _Candidate("cp866", _CYRILLIC, 9),
    _Candidate("iso8859_5", _CYRILLIC, 9),
    _Candidate("iso8859_7", _GREEK, 9),
    _Candidate("mac_roman", _WESTERN, 7),
    _Candidate("cp850", _WESTERN, 11),
    _Candidate("cp852", _CENTRAL, 12),
    _Candidate("mac_cyrillic", _CYRILLIC, 12),
    _Candidate("iso8859_15", _WESTERN, 12),
)
_ANY: Final = "".join(
    dict.fromkeys(
        _WESTERN + _CENTRAL + _TURKISH + _BALTIC + _CYRILLIC + _GREEK + _HEBREW + _ARABIC + _THAI
    )
)
_WIDE: Final = tuple(
    _Candidate(codec, "", 8, _HANZI + _KANJI, kana=True, hangul=True)
    for codec in ("utf_16_le", "utf_16_be")
)
_WITH_ZEROS: Final = tuple(
    _Candidate(codec, _ANY, 0, _HANZI + _KANJI, True, True)
    for codec in ("utf_8", "utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
)
_NOT_ASKED: Final = (
    "utf_16",
    "utf_16_le",
    "utf_16_be",
    "utf_32",
    "utf_32_le",
    "utf_32_be",
    "utf_7",
)
HARDLY_TEXT: Final = 15.0
"""Bits a character, above which a reading is no language that we know."""


def read_legacy(data: bytes) -> str | None:
    """Text of bytes that are not UTF-8, or None when no reading of them is likely."""
    mixed = _decode_mixed(data)
    among_utf_8: list[tuple[str, _Candidate]] = []
    if mixed is not None:
        text, strays = mixed
        candidate = _Candidate("", _ANY, 2 + 6 * strays, _HANZI + _KANJI, True, True)
        among_utf_8.append((text, candidate))
    candidates = _CANDIDATES if len(data) % 2 else (*_CANDIDATES, *_WIDE)
    # One after the other: the file may be large.
    best, bits, _ = _cheapest(chain(_readings(data, candidates), among_utf_8))
    if best is not None and bits <= HARDLY_TEXT:
        return best
    return _by_charset_normalizer(data)


def read_wide(data: bytes) -> str | None:
    """Text of bytes with zeros: UTF-16 or UTF-32 without a mark, or UTF-8 with zeros; else None."""
    text, _, bits = _cheapest(_readings(data, _WITH_ZEROS))
    return text if bits <= HARDLY_TEXT else None


def _readings(data: bytes, candidates: Iterable[_Candidate]) -> Iterator[tuple[str, _Candidate]]:
    for one in candidates:
        text = _decode(data, one.codec)
        if text is not None:
            yield text, one


def _cheapest(
    readings: Iterable[tuple[str, _Candidate]],
) -> tuple[str | None, float, float]:
    """The likeliest text, its bits a character outside ASCII, and a character."""
    best, least = None, 0.0
    for text, candidate in readings:
        bits = candidate.bits + sum(_costs(text[:_LOOKED_AT], candidate))
        if best is None or bits < least:
            best, least = text, bits
    shown = (best or "")[:_LOOKED_AT]
    foreign = sum(not one.isascii() for one in shown)
    outside = least - _ASCII_BITS * (len(shown) - foreign)
    return best, outside / max(foreign, 1), least / max(len(shown), 1)


def _decode_mixed(data: bytes) -> tuple[str, int] | None:
    """UTF-8 with some bytes of cp1252 among it, or torn at its end: the text, and how many."""
    # Without `final` a torn last character is left out; every other wrong byte is a surrogate.
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    text = decoder.decode(data)
    torn = decoder.getstate()[0]
    strays = sum(ord(one) in _STRAYS for one in text)
    characters = sum(not one.isascii() for one in text) - strays
    text = text.translate(_STRAYS)
    if not characters and not (torn.startswith(_TORN_AFTER_ASCII) and not strays):
        return None
    if strays > characters or any(map(_is_no_text, set(text))):
        return None
    return text, strays


_STRAYS: Final = {
    0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)
}
"""What `surrogateescape` makes of a byte -> what the byte is in cp1252."""
_TORN_AFTER_ASCII: Final = (b"\xc2", b"\xc3", b"\xe2\x80", b"\xf0\x9f")
"""First bytes of accented letters, quotes and emoji: after nothing but ASCII they are likelier a
column that was cut off than letters of another encoding."""


def _decode(data: bytes, codec: str) -> str | None:
    """None where the codec refuses, or gives what no text has: controls, unassigned, private."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return None
    return None if any(_is_no_text(one, zeros=codec == "utf_8") for one in set(text)) else text


def _is_no_text(one: str, *, zeros: bool = False) -> bool:
    if one.isascii():
        if one == "\0":
            return not zeros
        return one not in _USUAL_CONTROLS and (one < " " or one == "\x7f")
    return unicodedata.category(one) in ("Cc", "Cn", "Co", "Cs")


def _by_charset_normalizer(data: bytes) -> str | None:
    import charset_normalizer  # slow to import, and seldom needed

    found = charset_normalizer.from_bytes(data, cp_exclusion=list(_NOT_ASKED)).best()
    if found is None or found.percent_chaos > 10:
        return None
    text = str(found)
    return None if any(map(_is_no_text, set(text))) or _mixes_scripts(text) else text


def _mixes_scripts(text: str) -> bool:
    """Whether a Latin letter stands beside one of another script, as in no language."""
    kinds = [_kind(one) for one in text]
    pairs = pairwise(kinds)
    return any(
        before and after and (before == "latin") != (after == "latin") for before, after in pairs
    )


def _costs(text: str, candidate: _Candidate) -> Iterator[float]:
    """Bits of each character in its place."""
    letters = _letter_bits(candidate.letters)
    usual = frozenset(candidate.han)
    syllables = frozenset(_SYLLABLES if candidate.hangul else "")
    before, script = " ", ""
    for place, one in enumerate(text):
        if one.isascii() and before.isascii():
            yield _ASCII_BITS if one != "\0" else _ZERO_BITS
            before, script = one, _kind(one) or script
            continue
        after = text[place + 1] if place + 1 < len(text) else " "
        kind, kind_before = _kind(one), _kind(before)
        if one.isascii():
            yield _ASCII_BITS
        elif kind in ("han", "kana", "hangul"):
            yield _east_asian_bits(one, kind, candidate, usual=usual, syllables=syllables)
        elif kind:
            yield letters.get(one, 14.0)
        else:
            yield _symbol_bits(one, inside=before.isalpha() and after.isalpha(), after=after)
        if one.isupper():
            yield _CASE_BITS if before.islower() else -_RUN_BITS if before.isupper() else 0.0
        if kind == "thai" and unicodedata.category(one) == "Mn" and kind_before != "thai":
            yield _MIXED_BITS
        if kind and script and kind != script and not {kind, script} <= {"han", "kana"}:
            yield _MIXED_BITS if kind_before else _SWITCH_BITS
        if kind in ("han", "kana") and before == " " and place > 1:
            # Chinese and Japanese have no blanks between their words.
            yield _SWITCH_BITS if _kind(text[place - 2]) in ("han", "kana") else 0.0
        before, script = one, kind or script


@lru_cache(maxsize=64)
def _letter_bits(letters: str) -> Mapping[str, float]:
    """Small letters by rank, those among ASCII letters dearer; capitals 3 bits more."""
    bits: dict[str, float] = {}
    ranks: Counter[str] = Counter()
    for one in letters:
        kind = _kind(one)
        least = (5.0 if kind == "latin" else 3.2) + 0.16 * ranks[kind]
        ranks[kind] += 1
        bits.setdefault(one, least)
        if one.upper() != one and len(one.upper()) == 1:
            bits.setdefault(one.upper(), least + 3)
    return bits


def _east_asian_bits(
    one: str, kind: str, candidate: _Candidate, *, usual: frozenset[str], syllables: frozenset[str]
) -> float:
    if kind == "kana":
        half_width = one >= "\uff61"
        return (6.5 if half_width else 5.0) if candidate.kana else 14.0
    if kind == "hangul":
        if not candidate.hangul:
            return 20.0
        return 8.0 if one in syllables else 11.0 if "가" <= one <= "힣" else 16.0
    if not candidate.han:
        return 18.0
    if one in usual:
        return 8.0
    return 11.5 if _is_first_level(one, candidate.codec) else 18.0


def _is_first_level(one: str, codec: str) -> bool:
    """Whether a national standard counts the character among those in everyday use."""
    lead, first, last = _FIRST_LEVELS.get(codec, _FIRST_LEVELS["gb18030"])
    try:
        data = one.encode(lead)
    except UnicodeEncodeError:
        return False
    return len(data) == 2 and first <= data[0] <= last


_FIRST_LEVELS: Final = {
    "gb18030": ("gb18030", 0xB0, 0xD7),
    "big5": ("big5", 0xA4, 0xC6),
    "cp932": ("cp932", 0x88, 0x97),
    "euc_jp": ("euc_jp", 0xB0, 0xCF),
}
"""Codec -> codec, and the lead bytes of the first level of its standard."""


def _symbol_bits(one: str, *, inside: bool, after: str) -> float:
    if one in _TYPOGRAPHIC:
        # This one closes, and before a letter nothing was opened.
        return 5.0 + (_INSIDE_BITS if one == "”" and after.isalpha() else 0.0)
    if one in _FULL_WIDTH:
        return 6.0
    if one == "\xa0":
        return 8.0
    bits = 8.5 if one in _USUAL_SYMBOLS else 14.0
    return bits + (_INSIDE_BITS if inside else 0.0)


@lru_cache(maxsize=8192)
def _kind(one: str) -> str:
    """The script of a letter, roughly; "" of what is none."""
    if one.isascii():
        return "latin" if one.isalpha() else ""
    for first, last, kind in _BLOCKS:
        if first <= one <= last:
            return kind
    return "other" if one.isalpha() else ""


_BLOCKS: Final = (
    ("\u00aa", "\u00aa", ""),
    ("\u00b5", "\u00ba", ""),
    ("\u00c0", "\u024f", "latin"),
    ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u052f", "cyrillic"),
    ("\u0590", "\u05ff", "hebrew"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0e00", "\u0e7f", "thai"),
    ("\u1e00", "\u1eff", "latin"),
    ("\u3041", "\u30ff", "kana"),
    ("\u3131", "\u318e", "hangul"),
    ("\u3400", "\u9fff", "han"),
    ("\uac00", "\ud7a3", "hangul"),
    ("\uf900", "\ufaff", "han"),
    ("\uff61", "\uff9f", "kana"),
)
