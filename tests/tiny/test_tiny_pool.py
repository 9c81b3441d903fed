"""Pools hold exactly what tabletop draws, whoever draws them, and go on after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from imig.tabletop import render_scene, sample_scene, simple_caption
from imig.tabletop.vocabulary import is_novel, split_phrase
from tools.tiny import pool as pool_module
from tools.tiny.common import Workshop
from tools.tiny.pool import PoolRecipe, ScenePool, ensure_pool
from tools.tiny.views import VIEW_SIZE, VIEWS, ensure_views

RECIPE = PoolRecipe(count=8)


def test_scene_of_a_pool_is_the_scene_of_its_seed(workshop: Workshop) -> None:
    pool = workshop.pool("training")
    assert len(pool) == 8
    for index, scene in enumerate(pool):
        drawn = render_scene(sample_scene(index, combinations="trained"))
        np.testing.assert_array_equal(scene.image, drawn.image)
        np.testing.assert_array_equal(scene.masks, [i.mask for i in drawn.instances])
        np.testing.assert_array_equal(scene.boxes, [i.box for i in drawn.instances])
        assert scene.phrases == [i.phrase for i in drawn.instances]
        assert scene.identities == [i.identity for i in drawn.instances]
        assert (scene.caption, scene.simple_caption) == (drawn.caption, simple_caption(drawn))
        assert not any(is_novel(*split_phrase(phrase)) for phrase in scene.phrases)


def test_every_novel_scene_has_a_novel_thing(workshop: Workshop) -> None:
    for scene in workshop.pool("held-out-novel"):
        assert any(is_novel(*split_phrase(phrase)) for phrase in scene.phrases)


def test_interrupted_pool_goes_on(tmp_path: Path) -> None:
    pool_module.CHUNK, usual = 3, pool_module.CHUNK
    try:
        ensure_pool(tmp_path / "whole", RECIPE, processes=1)
        ensure_pool(tmp_path / "parts", RECIPE, processes=1)
        lost = pool_module.truth_file(tmp_path / "parts", 1)
        kept = pool_module.truth_file(tmp_path / "parts", 0)
        lost.unlink()
        images = np.load(tmp_path / "parts" / "images.npy", mmap_mode="r+")
        images[3:6] = 0
        images.flush()
        written = kept.stat().st_mtime_ns
        ensure_pool(tmp_path / "parts", RECIPE, processes=1)
        assert kept.stat().st_mtime_ns == written
    finally:
        pool_module.CHUNK = usual
    for name in ("images.npy", "owners.npy", "truth-00001.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_pool_of_another_recipe_is_drawn_anew(tmp_path: Path) -> None:
    ensure_pool(tmp_path, replace(RECIPE, count=2), processes=1)
    again = ensure_pool(tmp_path, replace(RECIPE, count=2, first_seed=50), processes=1)
    assert [scene.seed for scene in again] == [50, 51]


def test_stale_source_is_drawn_anew(tmp_path: Path) -> None:
    ensure_pool(tmp_path, replace(RECIPE, count=2), processes=1)
    marker = tmp_path / "pool.json"
    marker.write_text(json.dumps({"fingerprint": "of an older tabletop"}))
    (tmp_path / "left-over").touch()
    ensure_pool(tmp_path, replace(RECIPE, count=2), processes=1)
    assert not (tmp_path / "left-over").exists()
    assert len(ScenePool(tmp_path)) == 2


def test_views_show_the_identities_of_the_scenes(workshop: Workshop) -> None:
    scenes = workshop.pool("training")
    views = ensure_views(workshop.cache / "few-views", scenes, 5, processes=1)
    assert len(views) == 5
    for shown in views:
        assert shown.identity == scenes[shown.scene].identities[shown.instance]
        assert shown.images.shape == (VIEWS, VIEW_SIZE, VIEW_SIZE, 3)
        assert shown.masks.any(axis=(1, 2)).all()
        assert len(np.unique(shown.images.reshape(VIEWS, -1), axis=0)) == VIEWS
