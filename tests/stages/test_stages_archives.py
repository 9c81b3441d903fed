"""Archives as others make them: which samples, pictures, captions and nouns come out of them."""

import gzip
import json
import re
import tarfile
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError
from support.archives import Content, link, picture, read_all, source_of, write_tar

from imig.errors import UsageError
from imig.recipe.file import load_recipe
from imig.recipe.identity import recipe_to_dict
from imig.stages.sources.config import WebdatasetSource

RED, GREEN, BLUE = (picture(shade) for shade in (250, 120, 10))
PNG = picture(60, "PNG")
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


class Case(NamedTuple):
    """An archive, and the samples it means: key, picture (None: turned down), caption, nouns."""

    name: str
    members: Sequence[tuple[str, Content]]
    samples: list[tuple[str, bytes | None, str, list[str]]]
    settings: Mapping[str, Any] = MappingProxyType({})


def said(key: str, image: bytes | None, caption: str = "", *nouns: str) -> Any:
    return key, image, caption, list(nouns)


def as_json(**values: Any) -> bytes:
    return json.dumps(values).encode()


CASES = [
    Case(
        "JSON as Python prints it, with a comma too many, and a text alone",
        [
            ("a.jpg", RED), ("a.json", b"{'caption': \"it's red\", 'w': None}"),
            ("b.jpg", BLUE), ("b.json", b'{"caption": "b", }'),
            ("c.jpg", GREEN), ("c.json", b'"c"'),
        ],
        [said("a", RED, "it's red"), said("b", BLUE, "b"), said("c", GREEN, "c")],
    ),
    Case(
        "globs that mean JSON",
        [
            ("a.jpg", RED), ("a.said.json", as_json(caption="r")), ("a.tags.json", b'["mug"]'),
            ("b.jpg", BLUE), ("b.said.json", b'["b"]'),
        ],
        [said("a", RED, "r", "mug"), said("b", BLUE, "b")],
        {"members": {"caption": "*.said.json", "nouns": "*.tags.json"}},
    ),
    Case(
        "a glob of many stars",
        [("a" * 200 + ".jpg", RED), ("aXbXc.jpg", BLUE)],
        [said("a" * 200, None), said("aXbXc", BLUE)],
        {"members": {"image": "*a*x*x" + "*" * 20 + ".jpg"}},
    ),
    Case(
        "dates as names, each with its text",
        [("22.05.jpg", RED), ("22.05.txt", b"r"), ("22.06.jpg", BLUE), ("22.06.txt", b"b")],
        [said("22.05", RED, "r"), said("22.06", BLUE, "b")],
    ),
    Case(
        "dates as names, pictures alone",
        [("22.05.jpg", RED), ("22.06.jpg", BLUE)],
        [said("22.05", RED), said("22.06", BLUE)],
    ),
    Case(
        "dots in names, roles behind them",
        [
            ("d/v1.2.jpg", RED), ("d/v1.2.mask.png", PNG), ("d/v1.2.caption.txt", b"r"),
            ("d/v1.3.jpg", BLUE), ("d/v1.3.mask.png", PNG), ("d/v1.3.caption.txt", b"b"),
        ],
        [said("d/v1.2", RED, "r"), said("d/v1.3", BLUE, "b")],
    ),
    Case(
        "sites as names, a dozen pictures alone",
        [(f"www.site.com_{word}.jpg", RED) for word in "abcdefghijkl"],
        [said(f"www.site.com_{word}", RED) for word in "abcdefghijkl"],
    ),
    Case(
        "JSON beside each dotted name",
        [
            ("a.1.png", PNG), ("a.1.json", as_json(caption="one")),
            ("a.2.png", PNG), ("a.2.json", as_json(caption="two")),
        ],
        [said("a.1", PNG, "one"), said("a.2", PNG, "two")],
    ),
    Case(
        "the recipe insists on the first dot",
        [("22.05.jpg", RED), ("22.05.txt", b"r"), ("22.06.jpg", BLUE), ("22.06.txt", b"b")],
        [said("22", RED, "r")],
        {"key": "first-dot"},
    ),
    Case(
        "the recipe insists on the last dot",
        [("a.x.jpg", RED), ("a.y.jpg", BLUE), ("a.y.txt", b"b")],
        [said("a.x", RED), said("a.y", BLUE, "b")],
        {"key": "last-dot"},
    ),
    Case(
        "roles between two dots",
        [("a.image.jpg", RED), ("a.caption.txt", b"r"), ("a.depth.jpg", BLUE)],
        [said("a", RED, "r")],
    ),
    Case(
        "roles, and one text for all of them",
        [("a.depth.jpg", BLUE), ("a.img.jpg", RED), ("a.txt", b"r"), ("b.img.jpg", GREEN)],
        [said("a", RED, "r"), said("b", GREEN)],
    ),
    Case(
        "nothing but a mask is no picture",
        [("a.mask.png", PNG), ("a.txt", b"r")],
        [said("a", None)],
    ),
    Case(
        "img2dataset",
        [
            ("00000.jpg", RED), ("00000.txt", b"a wall"),
            ("00000.json", as_json(caption="a wall", url="http://x", status="success", key="0")),
        ],
        [said("00000", RED, "a wall")],
    ),
    Case(
        "imig's own shard",
        [
            ("basic-0.ref00.jpg", BLUE), ("basic-0.ref00.mask.png", PNG),
            ("basic-0.target.jpg", RED), ("basic-0.ref01.jpg", GREEN),
            ("basic-0.json", as_json(caption="c", nouns=["a dog"], id="basic-0")),
            ("basic-0.features.npy", b"x"),
        ],
        [said("basic-0", RED, "c", "a dog")],
    ),
    Case(
        "kohya, and a text named after the whole file",
        [("a.JPG", RED), ("a.caption", b"r"), ("b.png", PNG), ("b.png.txt", b"b")],
        [said("a", RED, "r"), said("b", PNG, "b")],
    ),
    Case(
        "all formats that folders take",
        [
            (f"{kind}.{kind}", picture(9, name))
            for kind, name in (("bmp", "BMP"), ("gif", "GIF"), ("tiff", "TIFF"), ("ppm", "PPM"))
        ] + [("jfif.jfif", RED), ("jpe.jpe", RED)],
        [
            *(said(k, picture(9, n)) for k, n in (("bmp", "BMP"), ("gif", "GIF"))),
            said("tiff", picture(9, "TIFF")), said("ppm", picture(9, "PPM")),
            said("jfif", RED), said("jpe", RED),
        ],
    ),
    Case(
        "a text of which it is known that it is no caption",
        [("a.jpg", RED), ("a.url.txt", b"http://x"), ("a.en.txt", b"r")],
        [said("a", RED, "r")],
    ),
    Case(
        "a prompt behind an empty caption, and an empty text",
        [("a.jpg", RED), ("a.txt", b" \n"), ("a.json", as_json(caption="", prompt="r"))],
        [said("a", RED, "r")],
    ),
    Case(
        "lists of captions: the first that says something",
        [("a.jpg", RED), ("a.json", as_json(captions=["", "one", "two"])),
         ("b.jpg", BLUE), ("b.json", b'["", "first", "second"]'),
         ("c.jpg", GREEN), ("c.json", as_json(captions=[{"id": 3, "caption": "of COCO"}]))],
        [said("a", RED, "one"), said("b", BLUE, "first"), said("c", GREEN, "of COCO")],
    ),
    Case(
        "other names and cases of JSON keys",
        [("a.jpg", RED), ("a.json", as_json(SAMPLE_ID=1, URL="u", TEXT="of LAION")),
         ("b.jpg", BLUE), ("b.json", as_json(negative_prompt="bad", blip2_caption="by BLIP")),
         ("c.jpg", GREEN), ("c.json", as_json(caption={"en": "english", "de": "d"})),
         ("d.jpg", RED), ("d.json", as_json(Top_Caption="top", caption_length=3))],
        [said("a", RED, "of LAION"), said("b", BLUE, "by BLIP"), said("c", GREEN, "english"),
         said("d", RED, "top")],
    ),
    Case(
        "JSON lines, a raw newline, a mark, UTF-16, cp1252",
        [("a.jpg", RED), ("a.jsonl", b'{"caption": "one"}\n{"caption": "two"}\n'),
         ("b.jpg", RED), ("b.json", b'{"caption": "two\nlines"}'),
         ("c.jpg", RED), ("c.json", b'\xef\xbb\xbf{"caption": "marked"}'),
         ("d.jpg", RED), ("d.json", '{"caption": "wide"}'.encode("utf-16")),
         ("e.jpg", RED), ("e.json", b'{"caption": "plain", "by": "Andr\xe9"}')],
        [said("a", RED, "one"), said("b", RED, "two lines"), said("c", RED, "marked"),
         said("d", RED, "wide"), said("e", RED, "plain")],
    ),
    Case(
        "JSON that is none, or says nothing",
        [("a.jpg", RED), ("a.json", b"{'caption': nope"), ("b.jpg", BLUE), ("b.json", b"[[[1]]]"),
         ("c.jpg", GREEN), ("c.json", as_json(caption=7, nouns=["wall", 3, ""]))],
        [said("a", RED), said("b", BLUE), said("c", GREEN, "", "wall")],
    ),
    Case(
        "hard links",
        [("a.jpg", RED), ("a.txt", b"r"), ("b.jpg", link("a.jpg")), ("b.txt", link("./a.txt"))],
        [said("a", RED, "r"), said("b", RED, "r")],
    ),
    Case(
        "symbolic links into a store, in chains, before their target",
        [("set/a.jpg", link("../store/7f", tarfile.SYMTYPE)),
         ("set/b.jpg", link("a.jpg", tarfile.SYMTYPE)), ("store/7f", RED)],
        [said("set/a", RED), said("set/b", RED)],
    ),
    Case(
        "links that lead out of the tar, or round in circles",
        [("a.jpg", link("/etc/passwd", tarfile.SYMTYPE)), ("b.jpg", link("../x.jpg")),
         ("c.jpg", link("d.jpg", tarfile.SYMTYPE)), ("d.jpg", link("c.jpg", tarfile.SYMTYPE)),
         ("e.jpg", RED)],
        [said("e", RED)],
    ),
    Case(
        "a name twice: the last, as tar unpacks it",
        [("a.jpg", RED), ("a.txt", b"old"), ("a.jpg", BLUE), ("a.txt", b"new")],
        [said("a", BLUE, "new")],
    ),
    Case(
        "a name in two spellings of one path",
        [("./d/a.jpg", RED), ("d//a.txt", b"r"), ("/b.jpg", BLUE), ("./b.txt", b"b")],
        [said("./d/a", RED, "r"), said("/b", BLUE, "b")],
    ),
    Case(
        "composed and decomposed names",
        [(f"{NFD}.jpg", RED), (f"{NFC}.txt", b"r")],
        [said(NFD, RED, "r")],
    ),
    Case(
        "what macOS and others leave behind",
        [("._a.jpg", b"fork"), ("__MACOSX/a.jpg", b"fork"), ("a.jpg", RED), (".DS_Store", b"x"),
         ("README", b"no dot"), ("folder.d", tarfile.TarInfo())],
        [said("a", RED), said("folder", None)],
    ),
    Case(
        "long names, names upwards, keys with folders",
        [("long/" + "x" * 300 + ".jpg", RED), ("../../up.jpg", BLUE), ("t/1.jpg", RED),
         ("v/1.jpg", BLUE), ("v/1.txt", b"b")],
        [said("long/" + "x" * 300, RED), said("../../up", BLUE), said("t/1", RED),
         said("v/1", BLUE, "b")],
    ),
    Case(
        "an empty picture beside a sound one",
        [("a.jpg", b""), ("a.png", PNG), ("b.jpg", b"")],
        [said("a", PNG), said("b", None)],
    ),
    Case(
        "mapped: member and JSON key",
        [("2.5.image.jpg", RED), ("2.5.mask.jpg", BLUE), ("2.5.json", as_json(caption="no",
          prompt="yes", tags="dog, cat")), ("2.6.image.jpg", GREEN), ("2.6.json", b"{}")],
        [said("2.5", RED, "yes", "dog", "cat"), said("2.6", GREEN)],
        {"members": {"image": "*.image.jpg", "caption": "json:prompt", "nouns": "json:tags"}},
    ),
    Case(
        "mapped: the mask is the picture, and a nested key",
        [("a.jpg", RED), ("a.mask.png", PNG), ("a.json", as_json(m={"Cap": ["x", "y"]}))],
        [said("a", PNG, "x")],
        {"members": {"image": "*.mask.png", "caption": "json:m.cap"}},
    ),
    Case(
        "mapped: underscores, and lines of a text as nouns",
        [("1_rgb.png", PNG), ("1_caption.txt", b"r"), ("1_depth.png", BLUE),
         ("1_things.txt", b"dog\ncat\n")],
        [said("1", PNG, "r", "dog", "cat")],
        {"members": {"image": "*_rgb.png", "caption": "*_caption.txt", "nouns": "*_things.txt"}},
    ),
    Case(
        "mapped: folders of pictures and captions",
        [("images/1.jpg", RED), ("images/2.jpg", BLUE), ("texts/2.txt", b"b"),
         ("texts/1.txt", b"r")],
        [said("1", RED, "r"), said("2", BLUE, "b")],
        {"members": {"image": "images/*.jpg", "caption": "texts/*.txt"}},
    ),
    Case(
        "mapped: what follows the key",
        [("a.jpg", RED), ("a.long.txt", b"long"), ("a.txt", b"short")],
        [said("a", RED, "long")],
        {"members": {"caption": "long.txt"}},
    ),
    Case(
        "mapped: place in a list, dots in a key",
        [("a.jpg", RED), ("a.json", as_json(pages=[{"text": ["one"]}], **{"x.y": ["dog"]}))],
        [said("a", RED, "one", "dog")],
        {"members": {"caption": "json:pages.0.text", "nouns": "json:x.y"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_samples_of_an_archive(case: Case, tmp_path: Path) -> None:
    formats = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]
    prints = set()
    for number, form in enumerate(formats):
        (tmp_path / str(number)).mkdir()
        path = write_tar(tmp_path / str(number) / "x.tar", case.members, format=form)
        stage = source_of(path, **case.settings)
        samples = read_all(stage)
        found = [
            (
                (one.scene.source.path or "").removeprefix("x.tar/"),
                None if one.reject else one.files["target.jpg"],
                one.scene.caption,
                one.scene.nouns,
            )
            for one in samples
        ]
        wanted = [
            (key, None if image is None else target_of(image), caption, nouns)
            for key, image, caption, nouns in case.samples
        ]
        assert found == wanted
        assert all(line.isprintable() for line in stage.describe() + stage.remarks())
        prints.add(stage.fingerprint())
    assert len(prints) == 1


def target_of(image: bytes) -> bytes:
    from imig.stages.pictures import bytes_to_target

    return bytes_to_target(image, min_side=8, max_side=1024, max_pixels=10**8).data


def test_text_that_is_too_much_is_cut_and_counted(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "x.tar",
        [
            ("a.jpg", RED), ("a.txt", b"dog " * 30_000), ("a.json", as_json(
                nouns=[f"n{n}" for n in range(1_002)] + ["x" * 10_001])),
            ("b.jpg", BLUE), ("b.json", b'{"caption": , }'),
        ],
    )  # fmt: skip
    one, other = read_all(source_of(tar))
    assert len(one.scene.caption) == 99_999
    assert one.scene.nouns == [f"n{n}" for n in range(1_000)]
    assert [oddity for oddity, _ in one.oddities] == [
        "caption of more than 100000 characters cut",
        "phrase of more than 10000 characters left out",
        "phrases beyond the first 1000 left out",
    ]
    assert other.oddities == [("unreadable JSON", "x.tar/b.json")]


def test_the_plan_shows_what_was_understood(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "x.tar",
        [("1.5.jpg", RED), ("1.5.txt", b"a \x1b[31m wall"), ("1.6.jpg", RED), ("1.6.txt", b"b"),
         ("1.7.jpg", RED), ("1.7.cls", b"3"), ("1.8.json", as_json(nouns=["dog"], url="u"))],
    )  # fmt: skip
    stage = source_of(path)
    lines = stage.describe()
    assert lines[0].startswith("tars: 1, samples: 4, with a picture: 3; ")
    assert "before the last dot" in lines[0]
    assert "source.key: first-dot" in lines[0]
    assert "image: jpg 3" in lines
    assert "caption: txt 2" in lines
    assert "not used: cls 1" in lines
    assert [line.split() for line in lines[-4:-2]] == [
        ["key", "image", "caption", "nouns"],
        ["1.5", "jpg", "a", "\\x1b[31m", "wall", "(txt)", "none"],
    ]
    assert stage.remarks() == [
        "samples without a picture, which will be turned down: 1 (x.tar/1.8)",
        "samples with a picture but none of what others have (txt 2): 1 (x.tar/1.7)",
    ]


def test_a_remark_counts_and_names_the_first(tmp_path: Path) -> None:
    members: list[tuple[str, Content]] = [("all.jpg", RED), ("all.txt", b"said")]
    members += [(f"s{number:04d}.jpg", RED) for number in range(2000)]
    stage = source_of(write_tar(tmp_path / "x.tar", members))
    remark = "samples with a picture but none of what others have (txt 1): 2,000 "
    assert stage.remarks() == [remark + "(x.tar/s0000, x.tar/s0001, x.tar/s0002, ..)"]
    twice = write_tar(tmp_path / "y.tar", [("a.jpg", RED), ("a.jpg", BLUE)])
    assert "names that stand twice in a tar; the last one is taken, as when the tar is unpacked: " \
        "1 (y.tar/a.jpg)" in source_of(twice).remarks()  # fmt: skip
    lost = write_tar(tmp_path / "z.tar", [("a.jpg", RED), ("a.other.jpg", BLUE), ("a.txt", b"x")])
    assert any("1 (z.tar/a.other.jpg)" in one for one in source_of(lost).remarks())
    led = write_tar(tmp_path / "l.tar", [("a.jpg", RED), ("b.jpg", link("c.jpg"))])
    assert any("1 (l.tar/b.jpg)" in one for one in source_of(led).remarks())


def test_samples_over_several_tars(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.jpg", RED), ("1.txt", b"r"), ("2.jpg", BLUE)])
    write_tar(tmp_path / "b.tar", [("2.txt", b"b"), ("3.jpg", GREEN), ("3.txt", b"g")])
    write_tar(tmp_path / "c.tar", [("1.jpg", GREEN), ("1.txt", b"other")])
    stage = source_of(tmp_path)
    assert [(one.scene.source.path, one.scene.caption) for one in read_all(stage)] == [
        ("a.tar/1", "r"), ("a.tar/2", "b"), ("b.tar/3", "g"), ("c.tar/1", "other"),
    ]  # fmt: skip
    assert "keys in more than one tar, each a sample of its own: 1" in stage.describe()
    assert any("two tars hold a part each" in one for one in stage.remarks())


def test_pictures_in_one_tar_and_captions_in_another(tmp_path: Path) -> None:
    write_tar(tmp_path / "captions.tar", [(f"{one}.json", as_json(text=one)) for one in "abc"])
    write_tar(tmp_path / "images.tar", [(f"{one}.jpg", RED) for one in "cab"])
    samples = read_all(source_of(tmp_path))
    assert [(one.scene.source.path, one.scene.caption) for one in samples] == [
        ("images.tar/c", "c"), ("images.tar/a", "a"), ("images.tar/b", "b"),
    ]  # fmt: skip


def test_a_sparse_member(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.txt", b"first."), ("b.txt", b"-"), ("b.jpg", RED)])
    data = bytearray(path.read_bytes())
    # The old GNU form: (0, 6 bytes stored), then 4 zeros up to 10 bytes.
    data[156:157] = b"S"
    data[257:265] = b"ustar  \0"
    data[386:410] = b"%011o\0%011o\0" % (0, 6)
    data[410:434] = b"%011o\0%011o\0" % (10, 0)
    data[483:495] = b"%011o\0" % 10
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        file = tar.extractfile("a.txt")
        assert file is not None
        assert file.read() == b"first." + bytes(4)
    from imig.stages.sources.archive import list_archive, read_member

    (_, member), *_ = list_archive(path, 0).members.values()
    assert read_member(path, member) == b"first." + bytes(4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            gzip.compress(b"x" * 600, mtime=0),
            r"not a plain tar: it is compressed with gzip\n.*gzip -dc",
        ),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed with zstd"),
        (b"BZh9" + bytes(600), "compressed with bzip2"),
        (b"\xfd7zXZ\0" + bytes(600), "compressed with xz"),
        (b"<!DOCTYPE html><html>no such key</html>" * 20, "web page.*\n.*fetch it again"),
        (b'{"error": "denied"}', "it is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "0 bytes"),
        (b"nothing of the kind" * 99, "not a plain tar"),
        (b"short", "not a plain tar"),
        (bytes(700), "no samples"),
    ],
)
def test_what_is_no_tar(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        source_of(tmp_path / "x.tar").count()
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_zip_named_tar(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.tar", "w") as file:
        file.writestr("a.jpg", RED)
    with pytest.raises(UsageError, match="it is a zip"):
        source_of(tmp_path).count()


@pytest.mark.parametrize("cut", [3, 400, 512, 600, 1100])
def test_a_truncated_tar_gives_what_is_whole(cut: int, tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "whole.tar", [("a.jpg", RED), ("b.bmp", b"x" * 2000)])
    data = whole.read_bytes()
    start = 512 + -(-len(RED) // 512) * 512
    path = tmp_path / "x.tar"
    path.write_bytes(data[: start + cut])
    stage = source_of(path)
    assert [one.scene.source.path for one in read_all(stage)] == ["x.tar/a"]
    assert stage.remarks()[0].startswith(f"x.tar: cut off at byte {start + cut}")
    path.write_bytes(data[:700])
    with pytest.raises(UsageError, match="not a plain tar: cut off at byte 700"):
        source_of(path).count()


def test_damage_in_the_middle_and_tars_laid_together(tmp_path: Path) -> None:
    one = write_tar(tmp_path / "1.tar", [("a.jpg", RED), ("b.jpg", BLUE)]).read_bytes()
    path = tmp_path / "x.tar"
    second = 512 + -(-len(RED) // 512) * 512
    path.write_bytes(one[:second] + b"?" * 512 + one[second + 512 :])
    stage = source_of(path)
    assert stage.count() == 1
    assert f"damaged at byte {second}" in stage.remarks()[0]
    path.write_bytes(one + one)
    assert "behind it there is more" in source_of(path).remarks()[0]
    path.write_bytes(one[: second + 512 + len(BLUE)])  # a writer that never closed it
    assert source_of(path).remarks() == []
    assert source_of(path).count() == 2


def test_an_empty_tar_among_others(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [])
    write_tar(tmp_path / "b.tar", [("a.jpg", RED)])
    (tmp_path / "._b.tar").write_bytes(b"fork")
    assert source_of(tmp_path).remarks() == ["tars without members: 1 (a.tar)"]


def test_paths(tmp_path: Path) -> None:
    odd = tmp_path / "br{1,2}x"
    odd.mkdir()
    for name in ("a.tar", "b-0.tar", "b-1.tar", "c{d}.tar", "e{0..1}.tar"):
        write_tar(odd / name, [("k.jpg", RED)])
    (tmp_path / "B").mkdir()
    write_tar(tmp_path / "B" / "UPPER.TAR", [("k.jpg", RED)])
    for path, count in (
        (odd / "a.tar", 1), (odd, 5), (odd / "b-{0..1}.tar", 2), (odd / "c{d}.tar", 1),
        (odd / "e{0..1}.tar", 1), (tmp_path / "{B,B}" / "UPPER.TAR", 2), (tmp_path / "B", 1),
    ):  # fmt: skip
        assert source_of(path).count() == count, path
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "x.tar.gz").write_bytes(b"")
    for wrong, message in (
        (tmp_path / "b{0..1.tar", "Unbalanced"),
        (odd / "b-{0..2}.tar", "1 of 3 missing"),
        (tmp_path / "{0..99999999999}.tar", "more than 100,000 tars"),
        ("https://x.org/{00..10}.tar", "not on this machine"),
        ("~nobody-at-all/x.tar", "home"),
        (tmp_path / ("x" * 300), "not there|too long"),
        (tmp_path / "g", r"1 compressed ones \(x.tar.gz\)"),
        (tmp_path, r"in \d folders below it"),
    ):
        with pytest.raises(UsageError, match=message):
            source_of(wrong).count()


@pytest.mark.parametrize(
    ("members", "message", "cure"),
    [
        ({"image": "*.image.jpg"}, "no member is '*.image.jpg'", "hold a: jpg json"),
        ({"caption": "json:promt"}, "no JSON of the first 1 samples has the key 'promt'",
         "did you mean json:prompt? its keys are prompt, meta, meta.size"),
        ({"caption": "json:meta.size"}, "'meta.size' is there, but it is a int, not text", "keys"),
        ({"nouns": "*.tags.txt"}, "no member is '*.tags.txt'", "hold a: jpg json"),
    ],
)  # fmt: skip
def test_a_mapping_that_fits_nothing(
    members: dict[str, str], message: str, cure: str, tmp_path: Path
) -> None:
    from imig.engine.plan import make_plan

    write_tar(
        tmp_path / "x.tar", [("a.jpg", RED), ("a.json", as_json(prompt="r", meta={"size": 3}))]
    )
    recipe = tmp_path / "recipe.yaml"
    ((role, text),) = members.items()
    recipe.write_text(
        f"name: x\nsource:\n  kind: webdataset\n  path: {tmp_path}\n"
        f"  members:\n    {role}: '{text}'\nwrite: {{}}\n"
    )
    with pytest.raises(UsageError) as caught:
        make_plan(load_recipe(recipe), output=tmp_path / "out")
    assert caught.value.message == f"{recipe}:6: source.members.{role}: {message}"
    assert cure in caught.value.cure


def test_wrong_mappings_are_refused_by_the_recipe() -> None:
    for members, message in (
        ({"image": "json:a"}, "pictures are members"), ({"caption": "json:"}, "names nothing"),
        ({"nouns": " "}, "names nothing"), ({"imag": "*.jpg"}, "extra"),
    ):  # fmt: skip
        with pytest.raises(ValidationError, match=message):
            WebdatasetSource.model_validate({"kind": "webdataset", "path": "x", "members": members})


def test_a_recipe_that_maps_nothing_keeps_its_checksum(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsource: {kind: webdataset, path: x}\nwrite: {}\n")
    source = recipe_to_dict(load_recipe(recipe).recipe)["source"]
    assert not {"key", "members"} & set(source)
    mapped = load_recipe(recipe, overrides=["source.key=last-dot", "source.members.nouns=json:a"])
    source = recipe_to_dict(mapped.recipe)["source"]
    assert (source["key"], source["members"]["nouns"]) == ("last-dot", "json:a")
    assert WebdatasetSource.model_validate(source).members.nouns == "json:a"


def test_the_report_has_the_remarks(tmp_path: Path) -> None:
    from imig.output.report import write_reports
    from imig.schema import Counts, Manifest

    counts = Counts(input=0, written=0, rejected=0, quarantined=0)
    manifest = Manifest(
        name="x", recipe={}, recipe_sha256="", models=[], packages={}, counts=counts, shards=[]
    )
    write_reports(tmp_path, manifest, [], seconds=1, pictures=[], remarks=["odd: <1>"])
    assert json.loads((tmp_path / "report.json").read_bytes())["source"] == ["odd: <1>"]
    assert "<li>odd: &lt;1&gt;" in (tmp_path / "report.html").read_text()
    write_reports(tmp_path, manifest, [], seconds=1, pictures=[])
    assert "source" not in json.loads((tmp_path / "report.json").read_bytes())
