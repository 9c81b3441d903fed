"""benchmarks/ablation.py: its prompts have look-alikes, its table finds a planted difference."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from support.stored_evaluations import save_evaluation, stored_picture

from benchmarks.ablation import by_importance
from benchmarks.ablation_figures.prompts import write_look_alike_prompt
from benchmarks.ablation_figures.table import make_rows, rows_to_markdown
from benchmarks.ablation_figures.variants import VARIANTS
from imig.evaluation.result import PictureResult

CASES = 40


def pictures(mean: float, *, seed: int) -> list[PictureResult]:
    """Cases that are hard for everybody are the same ones whatever the mean is."""
    hardness = np.random.default_rng(0).uniform(-0.2, 0.2, CASES)
    noise = np.random.default_rng(seed).normal(0, 0.01, CASES)
    scores = np.clip(mean + hardness + noise, 0, 1)
    return [stored_picture(n, box_iou=[float(one)]) for n, one in enumerate(scores)]


def test_a_planted_difference_is_found_over_both_seeds(tmp_path: Path) -> None:
    means = {("recipe", 0): 0.5, ("recipe", 1): 0.52, ("no-ica", 0): 0.45, ("no-ica", 1): 0.47}
    folders = {}
    for number, (key, mean) in enumerate(means.items()):
        folders[key] = tmp_path / "-".join(map(str, key))
        save_evaluation(folders[key], pictures(mean, seed=number + 1))
    save_evaluation(tmp_path / "limit", pictures(0.7, seed=9))
    limit, recipe, without = make_rows(folders, limits={"limit": tmp_path / "limit"})
    assert limit.pooled["box_iou"].value == pytest.approx(0.7, abs=0.02)
    assert recipe.differences == {}
    assert set(recipe.seeds) == {0, 1}
    found = without.differences["box_iou"]
    assert found.value == pytest.approx(-0.05, abs=0.005)
    assert -0.06 < found.low < found.high < -0.04  # either row's own interval is ten times as wide
    table = rows_to_markdown([limit, recipe, without])
    assert "| less the recipe | |" in table
    assert table.index("limit") < table.index(VARIANTS[0].title) < table.index(VARIANTS[1].title)


@pytest.mark.parametrize("number", range(8))
def test_a_prompt_has_things_that_differ_in_a_word(number: int) -> None:
    nouns = write_look_alike_prompt(number, seed=0).nouns
    assert len(set(nouns)) == len(nouns) >= 3
    words = [phrase.split() for phrase in nouns]
    assert any(
        len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1
        for one, other in combinations(words, 2)
    )
    assert write_look_alike_prompt(number, seed=0).nouns == nouns


def test_the_rows_that_the_question_is_about_come_first_with_all_seeds() -> None:
    order = [(variant.name, seed) for variant, seed in by_importance([0, 1], [])]
    first = [one.name for one in VARIANTS[:3]]
    assert order[:6] == [(name, seed) for seed in (0, 1) for name in first]
    assert len(set(order)) == len(order) == 2 * len(VARIANTS)
