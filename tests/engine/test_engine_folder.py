"""Whose folder it is, and what is deleted in it. No Ray: nothing is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine_stages import Judge, make_test_plan, write_recipe
from support.tiny_dataset import write_tiny_dataset

from imig.engine.folder import build_output
from imig.errors import UsageError
from imig.output.folder import build_lock, delete_dataset


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    holiday = tmp_path / "d" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.write_bytes(b"x")
    plan = make_test_plan(tmp_path / "d", recipe=write_recipe(tmp_path), scenes=8, judge=Judge())
    with pytest.raises(UsageError, match=r"not imig's: it holds holiday\.jpg"):
        build_output(plan).finished()
    with pytest.raises(UsageError, match="not imig's"):
        delete_dataset(tmp_path / "d")
    assert list((tmp_path / "d").iterdir()) == [holiday]


def test_a_lock_makes_no_folder_imigs(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not imig's: it holds thesis\.txt"), build_lock(tmp_path):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_delete_takes_only_what_imig_made(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    kept = [folder / "notes.txt", folder / "other.tar"]
    for path in kept:
        path.write_bytes(b"mine")
    delete_dataset(folder)
    assert sorted(folder.iterdir()) == kept


def test_delete_leaves_what_only_looks_like_ours(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    kept = [folder / "backup-202611.tar", folder / "pictures" / "mine.png"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    left_half = [folder / "basic-000099.tar", folder / "pictures" / ".x.jpg.tmp-1"]
    for path in left_half:
        path.write_bytes(b"ours")
    delete_dataset(folder)
    assert sorted(one for one in folder.rglob("*") if one.is_file()) == kept


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dataset.json", '{"files": ["a.csv"]}'),
        ("dataset.json", '[{"file": "a.csv"}]'),
        (".build/workspace-state.json", "{}"),
    ],
)
def test_another_program_s_files_make_no_folder_imig_s(
    tmp_path: Path, name: str, text: str
) -> None:
    """A `dataset.json` is nothing rare, and Swift builds into `.build`."""
    folder = tmp_path / "d"
    for one, words in ((name, text), ("README.md", "mine"), ("pictures/mine.jpg", "mine")):
        (folder / one).parent.mkdir(parents=True, exist_ok=True)
        (folder / one).write_text(words)
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError, match="not imig's"):
        delete_dataset(folder)
    with pytest.raises(UsageError, match="not imig's"), build_lock(folder):
        pass
    assert sorted(folder.rglob("*")) == before


def test_a_damaged_manifest_is_still_ours_to_delete(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    manifest = folder / "dataset.json"
    for damaged in (manifest.read_bytes()[:200], b"", b"\0" * 64):
        manifest.write_bytes(damaged)
        with build_lock(folder):
            pass
    delete_dataset(folder)
    assert not list(folder.glob("*.tar"))


def test_a_finished_dataset_of_another_recipe_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_dataset(tmp_path / "d")
    plan = make_test_plan(folder, recipe=write_recipe(tmp_path), scenes=6, judge=Judge())
    with pytest.raises(UsageError, match="name is tiny there and engine-test") as error:
        build_output(plan).finished()
    assert "--overwrite" in error.value.cure


def test_an_unfinished_build_names_what_differs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = write_recipe(tmp_path / "a", scenes_per_shard=16)
    second = write_recipe(tmp_path / "b", scenes_per_shard=32)
    output = tmp_path / "d"
    build_output(make_test_plan(output, recipe=first, scenes=8, judge=Judge())).prepare()
    other = build_output(make_test_plan(output, recipe=second, scenes=8, judge=Judge()))
    with pytest.raises(UsageError, match=r"write\.scenes_per_shard is 16 there and 32 here"):
        other.prepare()
    more = build_output(make_test_plan(output, recipe=first, scenes=9, judge=Judge()))
    with pytest.raises(UsageError, match="it has 8 input scenes, this one 9"):
        more.prepare()


def test_engine_settings_do_not_make_another_build(tmp_path: Path) -> None:
    output = tmp_path / "d"
    first = write_recipe(tmp_path)
    build_output(make_test_plan(output, recipe=first, scenes=8, judge=Judge())).prepare()
    second = write_recipe(tmp_path, engine=", max_error_rate: 0.5")
    build_output(make_test_plan(output, recipe=second, scenes=8, judge=Judge())).prepare()


def test_the_lock_is_free_after_its_holder(tmp_path: Path) -> None:
    with build_lock(tmp_path / "d"):
        pass
    with build_lock(tmp_path / "d"):
        pass
