"""A value for a text field is text; what a bare word is otherwise follows from its field."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from imig.errors import UsageError
from imig.prompts.config import PromptsSource
from imig.recipe.file import load_recipe
from imig.stages.ground import GroundConfig
from imig.stages.sources.config import FolderSource
from imig.training.recipe_file import load_training_recipe

TEXTS = [
    "2024", "007", "0x10", "0b11", "1_000", "1e3", "12:30:00", "1:30", ".inf", ".nan", "-5", "3.0",
    "yes", "no", "on", "off", "true", "NULL", "null", "Null", "2024-05-01", "2024-13-45",
    "2024-05-01 10:00:00", "[x]", "[x", "{x}", "{a: b}", "x #1", "# x", "a: b", "a:", "- x", "? x",
    "*x", "&x", "!x", "!!int 3", "@x", "%x", "`x", "|", ">", "=", "<<", "---", "...", '"quoted"',
    "'quoted'", '"half', " blanks ", "trailing ", "\ttab", "two\nlines", "C:\\new", "k=v=w", "=x",
    "é", "\u200b", "日本", "😀", "..", "/",
]  # fmt: skip


def source_of(name: str, *overrides: str) -> object:
    return load_recipe(name, overrides=overrides).recipe.source


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_setting_arrives_unchanged(tmp_path: Path, text: str) -> None:
    build, training = tmp_path / "build.yaml", tmp_path / "training.yaml"
    build.write_text("name: r\nsource: {kind: tabletop, count: 3}\n")
    training.write_text("name: t\nadapter: {}\n")
    for overrides in (
        ["source.kind=folder", f"source.path={text}"],
        [f"source.path={text}", "source.kind=folder"],
    ):
        source = source_of(str(build), *overrides)
        assert isinstance(source, FolderSource)
        assert source.path == text
    recipe = load_training_recipe(training, overrides=[f"data.instruction={text} {{caption}}"])
    assert recipe.data.instruction == f"{text} {{caption}}"


def test_null_is_none_where_there_may_be_none() -> None:
    tiny = ["models=tiny"]
    for text, path in (("null", None), ("NULL", "NULL"), ("2024", "2024"), (" null", " null")):
        source = source_of("basic", *tiny, f"source.path={text}")
        assert isinstance(source, PromptsSource)
        assert source.path == path
    assert load_recipe("demo", overrides=["filter=null"]).recipe.filter is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "source.path=~nobody-here/x",
            "--set source.path=~nobody-here/x: ~nobody-here/x: there is",
        ),
        (
            "source.path=",
            "--set source.path=: source.path: string should have at least 1 character",
        ),
        ("models=~nobody-here/x", "--set models=~nobody-here/x: ~nobody-here/x: there is no user"),
        ("ground.box_threshold=@x", "--set ground.box_threshold=@x: the value is not YAML: "),
        ("ground.box_threshold=2024-05-01", "unable to parse string as a number, got '2024-05-01'"),
        ("ground.max_boxes=yes", "ground.max_boxes: expected a valid integer"),
        ("ground.max_boxes=1:30", "unable to parse string as an integer, got '1:30'"),
        ("ground.max_boxes=1e3", "unable to parse string as an integer, got '1e3'"),
        ("ground.max_boxes=[1]", "ground.max_boxes: expected a valid integer, got [1]"),
        ("ground.max_boxes=" + "9" * 5000, "ground.max_boxes: "),
        ("engine.fuse=no", "expected 'auto', 'never' or 'always', got 'no'"),
        ("source.pth=x", "source: unknown key 'pth'"),
        ("sauce.path=x", "unknown key 'sauce'"),
        ("name.x=1", "--set name.x=1: name is 'photos', which has no keys"),
        ("ground", "--set ground: not of the form a.b=value"),
        ("=5", "--set =5: not of the form a.b=value"),
        (".=5", "--set .=5: not of the form a.b=value"),
        ("", "--set : not of the form a.b=value"),
        ("source.path=\udce9", "has bytes in it that are no text"),
    ],
)
def test_settings_that_are_wrong(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("photos", overrides=["source.path=x", setting])
    assert message in caught.value.message
    assert len(caught.value.message) < 400 or len(setting) > 400


def test_settings_one_after_the_other() -> None:
    def ground(*overrides: str) -> GroundConfig:
        found = load_recipe("demo", overrides=list(overrides)).recipe.ground
        assert isinstance(found, GroundConfig)
        return found

    last = load_recipe("demo", overrides=["ground.max_boxes=5", "ground=null"])
    assert last.recipe.ground is None
    block = ground("ground={max_boxes: 5}", "ground.nms_iou=0.5")
    assert (block.max_boxes, block.nms_iou) == (5, 0.5)
    assert ground("ground.max_boxes=010").max_boxes == 10
    model = ground("ground={model: {family: 007, weights: no}}").model
    assert (model.family, model.weights) == ("007", "no")


def test_lists() -> None:
    source = source_of("demo", "source.instances=[2, 9]", "source.instances.0=3")
    assert source.instances == (3, 9)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"source.instances is a list of 2, which has no '2'"):
        source_of("demo", "source.instances=[2, 9]", "source.instances.2=3")
    ignored = load_recipe("photos", overrides=["source.path=x", "caption.ignored_nouns=[no, 2024]"])
    assert ignored.recipe.caption is not None
    assert ignored.recipe.caption.ignored_nouns == ("no", "2024")


def test_another_kind_of_source_needs_none_of_the_first_one_s_keys(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\nsource: {kind: tabletop, count: 9, wdith: 300}\n")
    with pytest.raises(UsageError, match="unknown key 'wdith'"):
        source_of(str(file), "source.kind=folder", "source.path=x")
    file.write_text("name: r\nsource: {kind: tabletop, count: 9}\n")
    assert isinstance(source_of(str(file), "source.kind=folder", "source.path=x"), FolderSource)
    # What is set is not dropped.
    with pytest.raises(UsageError, match=r"--set source\.count=3: source: unknown key 'count'"):
        source_of(str(file), "source.kind=folder", "source.path=x", "source.count=3")


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("2024", "2024"),
        ("007", "007"),
        ("2024-05-01", "2024-05-01"),
        ("2024-13-45", "2024-13-45"),
        ("no", "no"),
        ("On", "On"),
        ("null", "null"),
        ("1e3", "1e3"),
        ("1:30", "1:30"),
        ("=", "="),
        ("0x", "0x"),
        ('"a # b"', "a # b"),
        ("'2024'", "2024"),
        ("!!str 2024", "2024"),
        ("!!int 12", "12"),
        ("*one", "0815"),
        ("|-\n    two\n    lines", "two\nlines"),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_text_in_a_file(tmp_path: Path, written: str, path: str, line_end: str) -> None:
    file = tmp_path / "r.yaml"
    text = f"name: r\ntiny: {{x: &one 0815}}\nsource:\n  kind: folder\n  path: {written}\n"
    file.write_bytes(text.replace("\n", line_end).encode())
    assert source_of(str(file)).path == path  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_a_file(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes("name: r\r\nsource: {kind: folder, path: né}\r\n".encode(encoding))
    assert source_of(str(file)).path == "né"  # type: ignore[attr-defined]


def test_merge_keys_and_numbers_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(
        "name: r\nseed: 010\nsource: {kind: folder, path: x, recursive: no, min_side: 1_00}\n"
        "tiny:\n  base: &base {family: 007, weights: yes}\n"
        "ground:\n  model: {<<: *base, weights: 'on', config: ~}\n"
    )
    recipe = load_recipe(file).recipe
    assert recipe.seed == 10
    assert isinstance(recipe.source, FolderSource)
    assert (recipe.source.recursive, recipe.source.min_side) == (False, 100)
    assert recipe.ground is not None
    model = recipe.ground.model
    assert (model.family, model.weights, model.config) == ("007", "on", None)


def test_json_recipes(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text('{\n\t"name": "r",\n\t"source": {"kind": "folder", "path": "no"}\n}')
    assert source_of(str(file)).path == "no"  # type: ignore[attr-defined]
    file.write_text('{\n\t"name": "r",\n\t"sauce": {}\n}')
    with pytest.raises(UsageError, match=r"r\.json:3: unknown key 'sauce'"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "r.yaml:1: a recipe is a mapping of keys to values"),
        (b"# only a comment\n", "r.yaml:1: a recipe is a mapping"),
        (b"- name: r\n", "r.yaml:1: a recipe is a mapping"),
        (b"just words\n", "r.yaml:1: a recipe is a mapping"),
        (b"name: r\nsource:\n\tkind: folder\n", "r.yaml:3: not YAML: "),
        (b"name: r\nname: r\n", "r.yaml:2: the key 'name' stands in line 1 already"),
        (b"name: r\nseed: *x\n", "r.yaml:2: not YAML: found undefined alias 'x'"),
        (b"name: r\n---\nname: s\n", "r.yaml:2: a second document begins here"),
        (b"name: &a [*a]\n", "r.yaml:1: an alias (*) stands inside of what it repeats"),
        (b"a: &a {b: 1, <<: *a}\n", "r.yaml:1: an alias (*) stands inside of what it repeats"),
        (b"? [a]\n: b\n", "r.yaml:1: a key is a word, not a list or a mapping"),
        (b"name: r\nseed: !x 1\n", "r.yaml:2: not YAML: the tag !x means nothing here"),
        (b"name: r\nseed: !!int 'x'\n", "r.yaml:2: not YAML: 'x' is no int"),
        (b"name: r\nseed: !!timestamp 'x'\n", "r.yaml:2: not YAML: 'x' is no timestamp"),
        (b"name: r\nseed: !!python/name:os.system\n", "r.yaml:2: not YAML: "),
        (b"name: r\nseed: \x07\n", "r.yaml:2: not YAML: "),
        (b"\x89PNG\r\n\x1a\n\0\0\0\r", "r.yaml: byte 0 (0x89) is in no encoding that is known"),
        (b"[" * 1200, "r.yaml:1: brackets are nested too deeply"),
        (
            b"a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
            b"c: &c [*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n"
            b"e: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e]\n",
            "with its aliases (*) followed the file is too large",
        ),
    ],
)  # fmt: skip
def test_files_that_are_wrong(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        load_recipe(file)
    assert message in caught.value.message


def test_what_is_no_recipe_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my recipes").mkdir()
    (tmp_path / "my recipes" / "r.yaml").write_bytes(codecs.BOM_UTF8 + b"adapter: {}\n")
    for name, message, cure in (
        ("my recipes", "my recipes is a folder", "'my recipes/r.yaml'"),
        ("my recipes/r.yaml", "is the recipe of a training", "--recipe 'my recipes/r.yaml'"),
        ("~nobody-here/r.yaml", "there is no user 'nobody-here'", "./~nobody-here/r.yaml"),
        ("s3://bucket/r.yaml", "is an address, and this is read from this machine only", "copy it"),
        ("x" * 5000, "File name too long", ""),
        ("r\0.yaml", "embedded null byte", ""),
        ("", "there is no recipe ''", "shipped recipes"),
        ("gone.json", "there is no recipe file gone.json", "imig recipes"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            load_recipe(name)
        assert cure in caught.value.cure
    # A file of any name, where no recipe of that name ships.
    (tmp_path / "mine").write_text("name: r\nsource: {kind: tabletop}\n")
    assert load_recipe("mine").recipe.name == "r"


def test_an_adapter_to_start_from_is_looked_at_first() -> None:
    with pytest.raises(UsageError, match=r"^--set adapter.start=~nobody-here/x: ~nobody-here/x: "):
        load_training_recipe("train-tiny", overrides=["adapter.start=~nobody-here/x"])
    with pytest.raises(UsageError, match="is an address"):
        load_training_recipe("train-tiny", overrides=["adapter.start=s3://bucket/x"])
