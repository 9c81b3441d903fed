"""Tars of any names, members and damage: at most people's errors; no picture lost or doubled."""

import contextlib
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from support.archives import picture, read_all, source_of, write_tar

from imig.errors import ImigError
from imig.stages.sources.archive import list_archive
from imig.stages.sources.archive_keys import (
    Names,
    group_by_first_dot,
    group_by_last_dot,
    is_picture,
)
from imig.stages.sources.archive_paths import path_to_archives
from imig.stages.sources.archive_pattern import MemberPattern
from imig.stages.sources.archive_samples import list_samples
from imig.stages.sources.archive_text import (
    bytes_to_json,
    json_to_caption,
    json_to_nouns,
    key_paths,
    look_up,
    value_to_phrases,
    value_to_text,
)
from imig.stages.sources.config import WebdatasetSource

RED = picture(200)

WORDS = st.sampled_from(["a", "b", "22", "05", "06", "image", "mask", "caption", "é", "e\u0301"])
FOLDERS = st.sampled_from(["", "", "d/", "./", "d/e.f/", "/", "../", "__MACOSX/", "._"])
SUFFIXES = st.sampled_from(["jpg", "JPG", "png", "txt", "json", "cls", "caption", "jpg.txt", ""])
NAMES = st.builds(
    lambda folder, words, suffix: folder + ".".join([*words, suffix]),
    FOLDERS, st.lists(WORDS, min_size=1, max_size=4), SUFFIXES,
)  # fmt: skip
ANY_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["caption", "TEXT", "captions", "prompt", "nouns", "en", "a.b", ""])
        | st.text(max_size=5),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
MAPPINGS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["*.jpg", "*.image.jpg", "d/*.jpg", "*_rgb.png", "?.jpg", "*"]),
        "caption": st.sampled_from(["*.txt", "json:prompt", "txt", "json:a.b", "*.caption.*"]),
        "nouns": st.sampled_from(["json:nouns", "*.txt"]),
    },
)


def settings(key: str, members: dict[str, str]) -> Any:
    return WebdatasetSource.model_validate(
        {"kind": "webdataset", "path": "x", "key": key, "members": members}
    )


@given(
    st.lists(NAMES | ANY_NAMES, max_size=14, unique=True),
    st.sampled_from(["auto", "first-dot", "last-dot"]),
    MAPPINGS,
    st.randoms(use_true_random=False),
)
def test_every_member_is_in_one_sample_in_any_order(
    names: list[str], key: str, members: dict[str, str], random: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = settings(key, members)
        found = []
        for number in range(2):
            path = write_tar(Path(folder) / f"{number}.tar", [(name, b"x") for name in names])
            listed = list_archive(path, 0).members
            samples = list_samples([path], key=config.key, members=config.members)
            places = Counter(place for entry in samples.entries for place in entry.members.values())
            assert sorted(places) == sorted(place for _, place in listed.values())
            assert set(places.values()) <= {1}
            found.append(
                sorted(
                    sorted(
                        name for name, (_, place) in listed.items()
                        if place in entry.members.values()
                    )
                    for entry in samples.entries
                )
            )  # fmt: skip
            taken = [one for entry in samples.entries if (one := entry.picture()) is not None]
            if not members:
                assert all(map(is_picture, taken))
            # One name in two spellings is the last of them: only then does the order matter.
            random.shuffle(names)
        assert found[0] == found[1]


@given(st.lists(NAMES, max_size=12))
def test_grouping_loses_nothing(names: list[str]) -> None:
    from imig.stages.sources.archive import Member

    members: Names = {
        name: (name, Member(0, number, 1))
        for number, name in enumerate(names)
        if "." in (base := name.rpartition("/")[2]) and not base.startswith(".")
    }
    for group in (group_by_first_dot, group_by_last_dot):
        grouped = [name for one in group(members).values() for name, _ in one.members.values()]
        assert sorted(grouped) == sorted(members)


@given(
    st.lists(st.tuples(NAMES, st.sampled_from([RED, b"", b"\xff\xfe", b"a wall"])), max_size=5),
    st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=24)), max_size=4),
    st.integers(0, 12000),
    st.booleans(),
)
@example([], [], 0, False)
def test_damaged_tars_end_in_words_for_people(
    members: list[tuple[str, bytes]],
    damage: list[tuple[int, bytes]],
    length: int,
    gnu: bool,
) -> None:
    form = tarfile.GNU_FORMAT if gnu else tarfile.PAX_FORMAT
    with tempfile.TemporaryDirectory() as folder:
        path = write_tar(Path(folder) / "x.tar", members, format=form)
        data = bytearray(path.read_bytes())
        for offset, patch in damage:
            data[offset : offset + len(patch)] = patch
        for start in {offset // 512 * 512 for offset, _ in damage}:
            _mend_checksum(data, start)
        path.write_bytes(data[:length] if length < 6000 else data)
        said: list[str] = []
        with contextlib.suppress(ImigError):
            stage = source_of(path)
            read_all(stage)
            said = stage.describe() + stage.remarks()
        assert all(line.isprintable() for line in said)


def _mend_checksum(data: bytearray, start: int) -> None:
    """So that damage goes deeper than the first check of a header."""
    block = data[start : start + 512]
    if len(block) == 512 and block[257:262] == b"ustar":
        block[148:156] = b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(block)


@given(st.binary(max_size=80) | VALUES.map(lambda one: repr(one).encode("utf-8", "replace")))
@example(b"[" * 100_000)
@example(b"1" * 5000)
@example(b'{"caption": "\\ud800"}')
def test_any_bytes_as_json(data: bytes) -> None:
    _ask(bytes_to_json(data, where="x.tar/a.json"))


@given(VALUES, st.text("abcaption.0", max_size=9))
def test_any_json(value: Any, path: str) -> None:
    _ask(value)
    found = look_up(value, path)
    _ask(found)
    for key in key_paths(value)[:5]:
        look_up(value, key)


def _ask(value: Any) -> None:
    caption, key = json_to_caption(value)
    assert isinstance(key, str)
    assert not caption or caption.strip()
    assert isinstance(value_to_text(value), str)
    for phrases in (value_to_phrases(value), json_to_nouns(value)):
        assert all(one.strip() for one in phrases)


@given(st.text("*?./_ab", min_size=1, max_size=12), NAMES | ANY_NAMES)
def test_any_pattern(glob: str, name: str) -> None:
    pattern = MemberPattern(glob)
    pattern.fits(name, extension=name.rpartition(".")[2])
    if pattern.names_keys:
        assert pattern.key(name) != ""


@example("{0..999999999999}")
@example("{" * 50 + "a,b}" * 50)
@given(st.text(max_size=20) | st.text("{}.,\\0129ax~/", max_size=20))
def test_any_path(path: str) -> None:
    with contextlib.suppress(ImigError):
        path_to_archives(path)
