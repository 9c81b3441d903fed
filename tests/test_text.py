"""Text from outside: decoded, mended, and compared."""

from __future__ import annotations

import unicodedata

import pytest

from imig.errors import DataError
from imig.text import (
    bytes_to_lines,
    bytes_to_text,
    find_words,
    first_of_alike,
    mend_text,
    text_to_match_form,
    text_to_plain,
)

ENCODED = [
    ("a dog’s toy", "utf-8"),
    ("a dog’s toy", "utf-8-sig"),
    ("a dog’s toy", "cp1252"),
    ("a “red” mug – on a table…", "cp1252"),
    ("un garçon à côté d’une fenêtre", "cp1252"),
    ("una niña come una piña", "latin-1"),
    ("Ein Mädchen mit grünem Hut", "latin-1"),
    ("© 2020 Getty, 20°C", "latin-1"),
    ("a ½ full glass", "latin-1"),
    ("price 5€", "cp1252"),
    ("a dog’s toy", "mac_roman"),
    ("Czerwony kubek na stole, żółta książka", "cp1250"),
    ("Příliš žluťoučký kůň", "iso8859_2"),
    ("Красная кружка на столе", "cp1251"),
    ("собака", "cp1251"),
    ("кот на диване", "koi8-r"),
    ("Кошка спит у окна", "cp866"),
    ("Кошка спит у окна", "iso8859_5"),
    ("Μια κόκκινη κούπα στο τραπέζι", "cp1253"),
    ("Masanın üzerinde kırmızı bir fincan", "cp1254"),
    ("כלב רץ על הדשא", "cp1255"),
    ("كلب يجري على العشب", "cp1256"),
    ("สุนัขวิ่งบนสนามหญ้า", "cp874"),
    ("犬が走っている", "shift_jis"),
    ("犬が走っている", "euc_jp"),
    ("犬が走っている", "iso2022_jp"),
    ("一只狗在草地上奔跑", "gb18030"),
    ("你好", "gbk"),
    ("一隻狗在草地上奔跑", "big5"),
    ("잔디 위를 달리는 개", "euc_kr"),
    ("잔디 위를 달리는 개", "iso2022_kr"),
    ("a dog’s toy", "utf-16"),
    ("a dog’s toy", "utf-16-le"),
    ("a dog’s toy", "utf-16-be"),
    ("猫と犬がいる", "utf-16-le"),
    ("一只猫。", "utf-16-be"),
    ("Красная кружка", "utf-16-be"),
    ("a cat 😀", "utf-16-le"),
    ("a dog’s toy", "utf-32"),
    ("a dog’s toy", "utf-32-be"),
]


@pytest.mark.parametrize(
    ("text", "encoding"), ENCODED, ids=[f"{encoding}-{text[:9]}" for text, encoding in ENCODED]
)
def test_encodings(text: str, encoding: str) -> None:
    assert bytes_to_text(text.encode(encoding), where="a.txt") == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\xef\xbb\xbf", "", id="mark-only"),
        pytest.param(b"\xef\xbb\xbf" * 2 + b"a", "a", id="two-marks"),
        pytest.param(b"\xfe\xff" + "é".encode("utf-16-be"), "é", id="utf-16-be-with-mark"),
        pytest.param(b"\xed\xa0\xbd\xed\xb8\x80 cat", "😀 cat", id="utf-8-of-java"),
        pytest.param("café".encode() + b", a dog\x92s", "café, a dog’s", id="utf-8-and-cp1252"),
        pytest.param("café du monde".encode() + b" \xe2\x80", "café du monde ", id="torn-utf-8"),
        pytest.param(b"caf\xc3", "caf", id="torn-accent"),
        pytest.param("a “b”".encode()[:-1], "a “b", id="torn-quote"),
        pytest.param(b"a \xe2\x80", "a ", id="torn-quote-after-ascii"),
        pytest.param(b"dog \xf0\x9f\x90", "dog ", id="torn-emoji"),
        pytest.param("caffè".encode("cp1252"), "caffè", id="accent-at-the-end"),
        pytest.param("猫".encode("utf-16")[:-1], "", id="torn-utf-16"),
        pytest.param(b"a dog\0", "a dog\0", id="zero-at-the-end"),
        pytest.param(b"a.jpg\0b.jpg\0", "a.jpg\0b.jpg\0", id="zeros-between"),
    ],
)
def test_bytes_that_are_nearly_text(data: bytes, text: str) -> None:
    assert bytes_to_text(data, where="a.txt") == text


@pytest.mark.parametrize(
    ("data", "byte"),
    [
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "byte 0 (0xff)", id="a-jpeg"),
        pytest.param(b"a dog" + bytes(range(128, 160)) + b"\x01", "byte 5 (0x80)", id="garbage"),
        pytest.param(b"caf\xc3 noir", "byte 3 (0xc3)", id="torn-inside"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x01\x02", "byte 0 (0x89)", id="a-png"),
        pytest.param(
            b"\xff\xfe\x00\x00\xff\xff\xff\xff", "byte 4 (0xff)", id="utf-32-out-of-range"
        ),
    ],
)
def test_what_is_no_text_is_named_with_file_and_byte(data: bytes, byte: str) -> None:
    with pytest.raises(DataError) as caught:
        bytes_to_text(data, where="photos/a.txt")
    assert f"photos/a.txt: {byte}" in caught.value.message
    assert "UTF-8" in caught.value.cure


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_files_that_were_joined_are_in_no_line(encoding: str) -> None:
    joined = "a.jpg\n".encode(encoding) + "b.jpg\n".encode(encoding)
    assert [one.text for one in bytes_to_lines(joined, where="f")] == ["a.jpg", "b.jpg", ""]


def test_lines_of_mixed_encodings_end_where_files_end_them() -> None:
    data = "é\r\nb\u2028c\rd\x85".encode() + b"\nun gar\xe7on\nla fen\xeatre\n"
    lines = bytes_to_lines(data, where="list.txt")
    assert [one.text for one in lines] == [
        "é", "b\u2028c", "d\x85", "un garçon", "la fenêtre", "",
    ]  # fmt: skip
    assert lines[3].data == b"un gar\xe7on"
    assert [one.number for one in lines] == [1, 2, 3, 4, 5, 6]
    wide = bytes_to_lines("a\r\nhé\n".encode("utf-16"), where="list.txt")
    assert [(one.text, one.data) for one in wide] == [
        ("a", b"a"), ("hé", "hé".encode()), ("", b""),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"list\.txt:2: byte 1 \(0x81\)"):
        bytes_to_lines(b"a\nb\x81\x01\n", where="list.txt")


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a dogâ€™s toy", "a dog’s toy"),
        ("cafÃ© crÃ¨me", "café crème"),
        ("schÃ¶n", "schön"),
        ("Ð¡Ð¾Ð±Ð°ÐºÐ°", "Собака"),
        ("fish &amp; chips", "fish & chips"),
        ("&amp;amp; &lt;3", "& <3"),
        ("L&rsquo;&eacute;t&eacute; &#8212; &#x1F600;", "L’été — 😀"),
        ("a < b &amp; c", "a < b & c"),
        ("cafe\u0301", "café"),
        ("a \x92quoted\x94 dog", "a ’quoted” dog"),
        ("a\x00 red\x07 mug\x7f", "a red mug"),
        ("\ud83d\ude00 and \ud83d", "😀 and \ufffd"),
        ("\x1b[31mred\x1b[0m mug", "red mug"),
        ("\ufeffa mug", "a mug"),
        ("a\r\nb", "a\nb"),
        ("a\x8dmug", "amug"),
    ],
)
def test_mending(text: str, mended: str) -> None:
    assert mend_text(text) == mended
    assert mend_text(mended) == mended


GOOD = [
    "a dog’s “toy” – really… 5 € ½ © ® ™ 20 °C",
    "ﬁre hydrant and oﬃce",
    "ＣＪＫ，全角！ ﾊﾝｶｸ",
    "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 👍🏽",
    "soft\u00adhyphen zero\u200bwidth non\u2011breaking nbsp\u00a0here",
    "AT&T, R&D, Q&A; a & b",
    "SÃO PAULO À NOITE, CORAÇÃO, NÃO",
    "ÉTÉ À LA PLAGE, ÇA VA",
    "Übergröße, Äpfel, Öl; GRÖSSE",
    "pão de açúcar, maçã",
    "Smörgåsbord på bordet, Ålesund, ærø",
    "Þetta er köttur, það",
    "żółta książka, Łódź",
    "Příliš žluťoučký kůň",
    "őszi fűben, űr",
    "kırmızı şapka, ağaç, İstanbul",
    "Красная кружка, Жінка в їдальні",
    "Μια κόκκινη κούπα",
    "כלב רץ על הדשא",
    "كلب يجري على العشب، قطة",
    "สุนัขวิ่งบนสนามหญ้า",
    "कुत्ता घास पर दौड़ रहा है",
    "টেবিলের উপর লাল মগ",
    "犬が走っている。テーブルの上",
    "红色的车和蓝色的车。",
    "빨간 컵과 파란 컵",
    "một con chó trên bãi cỏ, Nguyễn",
    "ძაღლი ბალახზე",
    "Շունը խոտի վրա",
    "raudonas puodelis, šuo, žąsis",
    "x² + y³ ≈ 10 µm ± 5 ‰ × 2 ÷ 3 → ∞",
    "naïve café, jalapeño, crème brûlée, façade, Motörhead",
    "l’œuf et le cœur « bœuf »",
    "¿Dónde está el niño? ¡Aquí!",
    "MAÇÃ VERDE, A MANHÃ E A LÃ",
]


@pytest.mark.parametrize("text", GOOD, ids=[text[:12] for text in GOOD])
def test_good_texts_stay(text: str) -> None:
    assert mend_text(text) == unicodedata.normalize("NFC", text)
    assert bytes_to_text(text.encode(), where="x") == text


@pytest.mark.parametrize(
    ("text", "plain", "match"),
    [
        ("A child’s  “drum”", 'A child\'s "drum"', 'a child\'s "drum"'),
        ("T\u2011shirt", "T-shirt", "t-shirt"),
        ("black–white cat — sleeping", "black-white cat - sleeping", "black-white cat - sleeping"),
        ("soft\u00adhyphen", "softhyphen", "softhyphen"),
        ("zero\u200bwidth\u2060\ufeff", "zerowidth", "zerowidth"),
        ("cafe\u0301 CRÈME", "café CRÈME", "café crème"),
        ("no\u00a0break\u3000here", "no break here", "no break here"),
        ("ﬁre ｔｒｕｃｋ", "fire truck", "fire truck"),
        ("Straße", "Straße", "strasse"),
        ("ΣΟΦΟΣ", "ΣΟΦΟΣ", "σοφοσ"),
        ("❤️ mug", "❤ mug", "❤ mug"),
        ("\u202eright to left\u202c", "right to left", "right to left"),
        ("LEGO™ brick", "LEGO brick", "lego brick"),
        ("\u200b\u00ad", "", ""),
        ("rock ’n’ roll, 5′ 6″", "rock 'n' roll, 5' 6\"", "rock 'n' roll, 5' 6\""),
    ],
)
def test_forms_for_comparison(text: str, plain: str, match: str) -> None:
    assert text_to_plain(text) == plain
    assert text_to_match_form(text) == match


@pytest.mark.parametrize(
    ("phrase", "text", "place"),
    [
        ("child's drum", "a child’s drum", 2),
        ("child’s drum", "a child's drum", 2),
        ("red-cube", "a red\u2011cube", 2),
        ("café table", "A CAFE\u0301 table", 2),
        ("softball", "a soft\u00adball", 2),
        ("red mug", "a red\u00a0\nmug.", 2),
        ("red mug", "a red\u200b mug", 2),
        ("fire truck", "a ﬁre truck", 2),
        ("cat", "a category", None),
        ("mug", "a red-mug", 6),
        ("", "a mug", None),
        ("\u200b", "a mug", None),
        ("c++ book", "a C++ book (old)", 2),
    ],
)
def test_words_are_found_whatever_their_quotes(phrase: str, text: str, place: int | None) -> None:
    assert find_words(phrase, text) == place


def test_of_phrases_that_read_alike_the_first_stays() -> None:
    phrases = [
        "Red mug",
        "red\u00a0mug",
        "RED\u00ad MUG",
        "",
        "\u200b",
        "blue mug",
        "child’s",
        "child's",
    ]
    assert first_of_alike(phrases) == ["Red mug", "blue mug", "child’s"]


def test_the_work_of_decoding_grows_with_the_file_not_with_its_square() -> None:
    # A hundred thousand stray bytes, each of which once had the rest of the file copied.
    text = "a dog’s toy\n" * 100_000
    assert bytes_to_text(text.encode("cp1252"), where="captions.txt") == text
