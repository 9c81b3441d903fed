"""The schema: any JSON is a scene, a manifest or pydantic's error; what is one stays what it is."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.tiny_dataset import make_sample

from imig.errors import DataError
from imig.schema import (
    MAX_PIXELS,
    MAX_SCENE_PIXELS,
    Manifest,
    Scene,
    first_problem,
    scene_from_json,
    scene_to_json,
)
from imig.shards.index import index_schema, row_to_plain, scene_to_row
from imig.shards.manifest import manifest_from_json

GOOD = json.loads(scene_to_json(make_sample(0).scene))
MANIFEST = {
    "name": "x", "recipe": {}, "recipe_sha256": "", "models": [], "packages": {},
    "counts": {"input": 0, "written": 0, "rejected": 0, "quarantined": 0}, "shards": [],
}  # fmt: skip

NUMBERS = (
    st.integers() | st.floats() | st.sampled_from([0, 1, -1, 16384, 16385, 2**63, 2**64, 10**400])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
BOXES = st.lists(NUMBERS, min_size=3, max_size=5) | JSON
PATHS: list[tuple[str | int, ...]] = []


def _collect(value: Any, path: tuple[str | int, ...]) -> None:
    if path:
        PATHS.append(path)
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            _collect(value[key], (*path, key))


_collect(GOOD, ())


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with something else at that place."""
    if not path:
        return new
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = changed(value[key], tuple(rest), new)
    return copy


def _read(text: str | bytes) -> Scene | None:
    try:
        scene = scene_from_json(text)
    except ValidationError as error:
        problem = first_problem(error)
        assert problem
        assert len(problem) < 700
        assert "\n" not in problem
        return None
    return scene


def _use(scene: Scene) -> None:
    """What follows from obeying the schema."""
    stored = scene_to_json(scene)
    assert scene_to_json(scene_from_json(stored)) == stored
    row = scene_to_row(scene, shard="x.tar", offset=0, size=512)
    plain = row_to_plain(row)
    assert set(plain) == set(index_schema().names)
    for value in plain.values():
        assert not isinstance(value, int) or value < 2**63
    pictures = [(scene.width, scene.height)]
    pictures += [(view.width, view.height) for one in scene.instances for view in one.references]
    assert max(width * height for width, height in pictures) <= MAX_PIXELS
    assert sum(width * height for width, height in pictures) <= MAX_SCENE_PIXELS


@given(st.binary(max_size=80) | JSON.map(json.dumps))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example("1" * 5000)
@example(b'{"id": "\\ud800"}')
@example(b"\xff\xfe")
def test_any_text_as_a_scene(text: str | bytes) -> None:
    assert _read(text) is None


@given(st.sampled_from(PATHS), JSON | BOXES)
def test_any_value_at_any_place(path: tuple[str | int, ...], new: Any) -> None:
    scene = _read(json.dumps(changed(GOOD, path, new)))
    if scene is not None:
        _use(scene)


@given(st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(PATHS)), min_size=1, max_size=3))
def test_values_of_other_places(pairs: list[tuple[tuple[str | int, ...], ...]]) -> None:
    value = GOOD
    for path, other in pairs:
        new: Any = GOOD
        for key in other:
            new = new[key]
        try:
            value = changed(value, path, new)
        except (KeyError, TypeError, IndexError):
            continue  # an earlier change has taken the place away
    scene = _read(json.dumps(value))
    if scene is not None:
        _use(scene)


def test_a_good_scene_is_used() -> None:
    """So that the tests above do not pass for want of one."""
    scene = _read(json.dumps(GOOD))
    assert scene is not None
    _use(scene)


NAMES = st.text(max_size=12) | st.sampled_from(
    ["x.tar", "../x.tar", "/x.tar", "a/b.tar", ".x.tar", "x.tar\n", "x.tar\0", "é.tar", "-.tar"]
)
RECORDS = st.fixed_dictionaries(
    {
        "name": NAMES, "samples": st.integers(0, 9) | NUMBERS, "bytes": st.integers(0, 9) | NUMBERS,
        "sha256": st.text(max_size=4),
    }
)  # fmt: skip


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "shards": st.lists(RECORDS, max_size=3) | JSON,
            "recipe": st.dictionaries(
                st.sampled_from(["merged", "filter", "source", "duplicates"]), JSON, max_size=3
            )
            | JSON,
            "counts": JSON,
            "schema_version": st.sampled_from([1, 2, 3, "2", None]) | NUMBERS,
            "encoding": JSON,
            "derived": JSON,
            "name": st.text(max_size=4) | JSON,
        },
    )
)
@example({"recipe": json.loads('{"merged": [' * 60 + "{}" + "]}" * 60)})
def test_any_manifest(new: dict[str, Any]) -> None:
    try:
        manifest = manifest_from_json(json.dumps({**MANIFEST, **new}).encode(), place="d.json")
    except DataError as error:
        assert error.message.startswith("d.json does not obey the schema: ")  # noqa: PT017
        return
    for record in manifest.shards:
        assert record.name.isascii()
        assert "/" not in record.name
        assert not record.name.startswith(".")
        assert record.name.endswith(".tar")
        assert 0 <= record.bytes < 2**63
    again = Manifest.model_validate_json(manifest.model_dump_json())
    assert again.model_dump_json() == manifest.model_dump_json()


@given(st.binary(max_size=60))
@example(b'{"schema_version": 1e400}')
def test_any_bytes_as_a_manifest(data: bytes) -> None:
    try:
        manifest_from_json(data, place="d.json")
    except DataError as error:
        assert "d.json" in error.message  # noqa: PT017
