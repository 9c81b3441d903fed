"""Whatever is given to `--set`, or written in a recipe: text is unchanged, errors are ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from imig.errors import UsageError
from imig.recipe.file import load_recipe
from imig.recipe.root import Recipe
from imig.recipe.values import to_values
from imig.recipe.yaml_lines import parse_json, parse_setting, parse_yaml
from imig.stages.sources.config import FolderSource

PATH = Path("r.yaml")

yaml_like = st.text(
    st.sampled_from(list("ab019:-#[]{},&*!|>'\"%@`~=?. \t\n\r\\/é\u200b\0\x07")), max_size=40
)
words = st.sampled_from(
    ["null", "~", "yes", "007", "2024-05-01", "2024-13-45", "1:30", "0x", "1_0", "<<", "=", "[*a]"]
)


@given(st.one_of(st.text(), yaml_like, words))
@example("x #1")
@example("2024-99-99")
@example("!!timestamp x")
@example("&a [*a]")
def test_text_for_a_text_field_arrives_unchanged(text: str) -> None:
    word = parse_setting(text, setting=f"--set source.path={text}")
    raw = {"kind": "folder", "path": word}
    values = to_values({"name": "r", "source": raw}, Recipe)
    assert values["source"]["path"] == text
    optional = to_values({"source": {"kind": "prompts", "path": word}}, Recipe)["source"]["path"]
    assert optional == (None if text == "null" else text)
    # A text among others, written in YAML's quotes.
    quoted = "'" + text.replace("'", "''") + "'"
    if text.isprintable():
        inside = parse_setting(f"{{kind: folder, path: {quoted}}}", setting="--set source=..")
        assert to_values({"source": inside}, Recipe)["source"] == {"kind": "folder", "path": text}


KEYS = [
    *("source.path", "source", "source.instances.0", "filter", "models", "tiny.x", "name", "seed"),
    *("ground.model.weights", "caption.ignored_nouns", "a.b", "source.kind.x"),
]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(KEYS), yaml_like), st.one_of(st.text(), yaml_like, words)
        ),
        max_size=3,
    )
)
@example([("source", "&a [*a]"), ("source.path", "x")])
@example([("source", "[1]"), ("source.²", "x")])
@example([("ground", "{model: {family: x}}"), ("ground.model.weights", "~no-one")])
def test_settings_give_a_recipe_or_an_error_of_ours(settings: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder, suppress(UsageError):
        file = Path(folder) / "r.yaml"
        file.write_text("name: r\nsource: {kind: tabletop, count: 3}\nground:\ncaption:\n")
        load_recipe(file, overrides=[f"{key}={value}" for key, value in settings])


@given(
    st.one_of(yaml_like, st.text()), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
)
@example("a: &a {<<: *a}", "utf-8")
@example("? {a: b}\n: c", "utf-8")
@example("a: !!set {b, c}", "utf-8")
@example("a: !!timestamp b", "utf-8")
@example("<<: 1", "utf-8")
@example("a: {<<: [1]}", "utf-8")
def test_files_give_a_recipe_or_an_error_of_ours(text: str, encoding: str) -> None:
    with TemporaryDirectory() as folder, suppress(UsageError):
        file = Path(folder) / "r.yaml"
        file.write_bytes(
            b"name: r\nsource: {kind: folder, path: x}\n".decode().encode(encoding)
            + text.encode(encoding, "replace")
        )
        loaded = load_recipe(file)
        assert isinstance(loaded.recipe.source, FolderSource)


@given(st.one_of(yaml_like, st.text()))
def test_parsers_raise_nothing_else(text: str) -> None:
    for parse in (parse_yaml, parse_json):
        with suppress(UsageError):
            to_values(parse(text, PATH).value, Recipe)
